# SPDX-License-Identifier: Apache-2.0
"""What connections that are kept up have in common, whatever is spoken on them.

They are made in time or not at all, a peer that says nothing is asked whether it is still there and
given up if it does not answer, and between two attempts there is a pause, which news may end.
`Retry` is that pause for who has more to do than to wait for its end.
Only where a folder was removed below its mount no attempt can help (`FolderRemoved`).
"""

from __future__ import annotations

import asyncio
import posix
import random
from typing import TYPE_CHECKING

from linen.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

PIECE = 1 << 18  # bytes: as much as asyncio reads at once
NO_ANSWER = "no answer in time"


class LostError(Exception):
    """A connection is of no more use, or could not be made, for this reason."""


class FolderRemoved(errors.Unavailable):
    """A folder was removed on the host below a mount of it, which shows it for ever."""


def refuse_removed(folder: str) -> None:
    """Raise `FolderRemoved` for a folder that has a path here and yet no name anywhere.

    A mount, as a pod has it, keeps a removed folder, and in that nothing can be made.
    """
    try:
        names = posix.stat(folder).st_nlink
    except OSError:
        return
    if not names:
        raise FolderRemoved(
            f"{folder} was removed on the host to be made anew",
            "this mount shows the old one for ever: ending, to be started again",
        )


async def connect(path: str, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the unix socket at `path`. Raises `LostError`."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.open_unix_connection(path, limit=PIECE)
    except TimeoutError:
        raise LostError(NO_ANSWER) from None
    except OSError as error:
        raise _lost(error) from None


async def listen(
    reader: asyncio.StreamReader,
    silence: float,
    *,
    receive: Callable[[bytes], bool],
    probe: Callable[[], None],
    peer: str,
) -> NoReturn:
    """Give all that comes to `receive`, until the connection ends. Raises `LostError`.

    `receive`: whether what came shows that the peer lives. `probe`: ask the peer to show it, called
    after `silence` seconds without; after as many again it is given up. `peer`: its name.
    """
    clock = asyncio.get_running_loop().time
    probed, deadline = False, clock() + silence
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                data = await reader.read(PIECE)
        except TimeoutError:
            if probed:
                raise LostError(NO_ANSWER) from None
            probe()
            probed, deadline = True, clock() + silence
            continue
        except ConnectionError:
            data = b""
        except OSError as error:
            raise _lost(error) from None
        if not data:
            raise LostError(f"{peer} hung up")
        if receive(data):
            probed, deadline = False, clock() + silence


def pause(failures: int, first: float, longest: float) -> float:
    """Seconds until the next attempt: none at first, then longer and longer, and never in step.

    After the first of `failures` in a row at most `first` seconds, after each further one at most
    twice as many, but never more than `longest`; and no less than half of that.
    """
    if not failures:
        return 0.0
    doubled = min(longest, first * 2.0 ** min(failures - 1, 20))
    return doubled * random.uniform(0.5, 1)  # noqa: S311  (spreads load, guards nothing)


class Retry:
    """When to try again what has failed: later each time, by one alarm, whatever else happens.

    `wake`: called when an attempt is due. `first`, `longest`: as for `pause`.
    """

    def __init__(self, wake: Callable[[], None], first: float, longest: float) -> None:
        self._wake = wake
        self._first = first
        self._longest = longest
        self._failures = 0
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def is_due(self) -> bool:
        """Whether the pause after the last failure, if there was one, is over."""
        return self._alarm is None

    def failed(self, at_least: float = 0.0) -> float:
        """Seconds until the next attempt, no fewer than the peer asked for.

        An attempt ahead of its time, for which there may be many reasons, makes the pause no
        longer, and adds no other.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._alarm is None:
            self._failures += 1
            due = now + max(at_least, pause(self._failures, self._first, self._longest))
        else:
            self._alarm.cancel()
            due = max(self._alarm.when(), now + at_least)
        self._alarm = loop.call_at(due, self._ring)
        return due - now

    def succeeded(self) -> None:
        """What failed has worked: the next failure is the first again."""
        self._failures = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        self._alarm = None
        self._wake()


def _lost(error: OSError) -> LostError:
    return LostError(error.strerror or str(error))


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, so many seconds at most; whether it is set.

    `asyncio.wait_for` of Python 3.11 goes on as if nothing had happened when its task is cancelled
    in the very moment in which the event is set (https://github.com/python/cpython/issues/86296),
    and a daemon that was told to end never does.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
