# SPDX-License-Identifier: Apache-2.0
"""Waiting for what may happen, without missing that nobody waits any more."""

from __future__ import annotations

import asyncio

import pytest

from linen import streams


async def heed(event: asyncio.Event) -> None:
    """Do so for ever, as tasks of the daemon do."""
    while True:
        await streams.is_set_within(event, 60)
        event.clear()


@pytest.mark.parametrize("turns", range(4))
def test_cancelled_in_the_moment_of_the_event(turns: int) -> None:
    """A task that waits for an event ends when it is cancelled, though that has just happened."""

    async def scenario() -> None:
        event = asyncio.Event()
        task = asyncio.create_task(heed(event))
        for _ in range(4):  # until it waits
            await asyncio.sleep(0)
        event.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()

    asyncio.run(scenario())


def test_whether_it_happened() -> None:
    """It is told whether the event was set in time."""

    async def scenario() -> None:
        event = asyncio.Event()
        assert not await streams.is_set_within(event, 0.01)
        event.set()
        assert await streams.is_set_within(event, 60)

    asyncio.run(scenario())
