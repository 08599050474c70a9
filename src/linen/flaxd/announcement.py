# SPDX-License-Identifier: Apache-2.0
"""What is told of the daemon's state: each thing once, and nothing that is over in a moment."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("flaxd")

BRIEF = 0.5  # seconds for which ovs-vswitchd may be busy without anybody being told


class Announcement:
    """Why the overlay does not work, and what is wrong besides: told when it is another.

    `report`: called with both when they are told. `wake`: called when something has lasted long
    enough to be told, if it is handed in then once more.
    `waiting`: why it does not work, told or not; empty while it does.
    `faults`: what is wrong without keeping it from working, told or not.
    """

    def __init__(
        self,
        report: Callable[[tuple[str, ...], tuple[str, ...]], None],
        wake: Callable[[], None],
    ) -> None:
        self.waiting: tuple[str, ...] = ("starting",)
        self.faults: tuple[str, ...] = ()
        self._report = report
        self._wake = wake
        self._waiting_since: float | None = None
        self._told_waiting: tuple[str, ...] | None = None  # None: nothing yet
        self._told_faults: tuple[str, ...] = ()

    def tell(self, waiting: tuple[str, ...], faults: tuple[str, ...], peers: int) -> None:
        """Log and report what has changed since the last time, and nothing else.

        `peers`: how many other nodes there are.
        """
        self.waiting, self.faults = waiting, faults
        if waiting and self._is_brief(waiting):
            return
        if not waiting:
            self._waiting_since = None
        was_working, known_faults = self._told_waiting == (), self._told_faults
        if (waiting, faults) == (self._told_waiting, self._told_faults):
            return
        self._told_waiting, self._told_faults = waiting, faults
        for reason in waiting:
            log.info("waiting: %s", reason)
        for fault in sorted(set(faults) - set(known_faults)):
            log.warning("%s", fault)
        if not waiting and not was_working:
            log.info("the overlay works: %d other nodes", peers)
        self._report(waiting, faults)

    def _is_brief(self, waiting: tuple[str, ...]) -> bool:
        """Whether it has lasted so short that nobody needs to know, as with each new tunnel."""
        loop = asyncio.get_running_loop()
        if self._waiting_since is None:
            self._waiting_since = loop.time()
            loop.call_later(BRIEF, self._wake)
        return loop.time() - self._waiting_since < BRIEF and waiting != self._told_waiting
