# SPDX-License-Identifier: Apache-2.0
"""Tasks that tell of changes by a callback, run beside a test that waits for what they tell."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from support.host import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any


class Notice:
    """The callback of what is being watched; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        """Something has changed."""
        self.calls += 1
        self._event.set()

    async def until(
        self, condition: Callable[[], object], what: str, seconds: float = PATIENCE
    ) -> None:
        """Return when `condition` holds, which only a call of this can bring about."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            raise AssertionError(f"waited {seconds} s in vain for {what}") from None


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Run `work` beside the block, and cancel it after; what goes wrong in it is raised."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
