# SPDX-License-Identifier: Apache-2.0
"""Watches of a control plane's Nodes, running for as long as a block lasts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from linen.kube import access, nodes, watch
from linen.kube.client import Client
from support.notices import Notice, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path
    from typing import Any

R = TypeVar("R", bound=watch.Record)

SECONDS = 30.0  # for anything to happen
# Pauses that do not make tests wait.
QUICK = watch.Pace(first_pause=0.02, longest_pause=0.2, steady=0.5)


class Watched(Generic[R]):
    """A watch that runs, and how often it called for attention."""

    def __init__(
        self, client: Client, parse: Callable[[Any, R | None], R | None], **options: Any
    ) -> None:
        options.setdefault("pace", QUICK)
        self.client = client
        self._notice = Notice()
        self.watch: watch.Watch[R] = watch.Watch(client, parse, self._notice, **options)

    @property
    def records(self) -> dict[str, R]:
        """The watch's records."""
        return self.watch.records

    @property
    def calls(self) -> int:
        """How often the watch called for attention."""
        return self._notice.calls

    @property
    def revision(self) -> int:
        """What the watch would resume from."""
        return int(self.watch._revision or 0)

    async def until(self, condition: Callable[[], object], what: str = "a change") -> None:
        """Return when `condition` holds, which a call for attention must bring about."""
        await self._notice.until(condition, f"{what}; {self.watch.problem}", SECONDS)

    async def until_current(self) -> None:
        """Return when the records are all there are, and kept up to date."""
        await self.until(lambda: self.watch.synced and not self.watch.problem)


@asynccontextmanager
async def watching_any(
    kubeconfig: Path, parse: Callable[[Any, R | None], R | None], **options: Any
) -> AsyncIterator[Watched[R]]:
    """A watch that runs."""
    async with Client(access.load(kubeconfig), "linen-tests") as client:
        watched = Watched(client, parse, **options)
        async with running(watched.watch.run()):
            yield watched


@asynccontextmanager
async def watching(kubeconfig: Path, **options: Any) -> AsyncIterator[Watched[nodes.NodeRecord]]:
    """A watch of all Nodes, up to date when the block begins."""
    async with watching_any(kubeconfig, nodes.parse_record, **options) as watched:
        await watched.until_current()
        yield watched


@asynccontextmanager
async def watching_own(
    kubeconfig: Path, name: str, **options: Any
) -> AsyncIterator[Watched[nodes.OwnNode]]:
    """A watch of one Node as its own daemon sees it, up to date when the block begins."""
    async with watching_any(kubeconfig, nodes.parse_own, only=name, **options) as watched:
        await watched.until_current()
        yield watched


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous test to its end."""

    async def bounded() -> None:
        async with asyncio.timeout(100):
            await work

    asyncio.run(bounded())
