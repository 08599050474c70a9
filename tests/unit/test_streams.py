# SPDX-License-Identifier: Apache-2.0
"""Waiting for what may happen, or until it is time for another attempt."""

from __future__ import annotations

import asyncio

import pytest

from linen import streams
from support.notices import Notice


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
    """Who waits for an event is told whether it was set in time."""

    async def scenario() -> None:
        event = asyncio.Event()
        assert not await streams.is_set_within(event, 0.01)
        event.set()
        assert await streams.is_set_within(event, 60)

    asyncio.run(scenario())


def test_two_thousand_failures() -> None:
    """However often an attempt fails, there is a next one, and by then it is due."""

    async def scenario() -> None:
        woken = asyncio.Event()
        retry = streams.Retry(woken.set, 1e-6, 1e-4)
        for _ in range(2000):
            assert retry.is_due
            assert retry.failed() <= 1e-4
            assert not retry.is_due
            assert await streams.is_set_within(woken, 60)
            woken.clear()

    asyncio.run(scenario())


def test_pauses_of_failures() -> None:
    """Pauses double up to the longest, and a success makes them short again."""

    async def scenario() -> None:
        woken = asyncio.Event()
        retry = streams.Retry(woken.set, 0.01, 0.04)
        for most in (0.01, 0.02, 0.04, 0.04):
            assert most / 2 <= retry.failed() <= most
            assert await streams.is_set_within(woken, 60)
            woken.clear()
        retry.succeeded()
        assert retry.failed() <= 0.01

    asyncio.run(scenario())


def test_attempts_ahead_of_time() -> None:
    """However many attempts fail before one is due, the pause is the same, and ends once."""

    async def scenario() -> None:
        told = Notice()
        retry = streams.Retry(told, 0.1, 60)
        pauses = [retry.failed() for _ in range(100)]
        assert pauses == sorted(pauses, reverse=True)  # the time that passes makes each shorter
        await told.until(lambda: told.calls, "the end of the pause")
        await asyncio.sleep(0.2)  # as long as any other pause would be
        assert told.calls == 1

    asyncio.run(scenario())


def test_a_peer_that_asks_to_be_left_alone() -> None:
    """No attempt is due before the peer wants one, and a success needs none."""

    async def scenario() -> None:
        calls = list[None]()
        retry = streams.Retry(lambda: calls.append(None), 0.001, 0.001)
        assert retry.failed() <= 0.001
        assert 60 < retry.failed(70) <= 70
        assert retry.failed(0.01) > 60
        retry.succeeded()
        assert retry.is_due
        assert not calls

    asyncio.run(scenario())
