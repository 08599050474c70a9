# SPDX-License-Identifier: Apache-2.0
"""Notices that ovs-vswitchd has ended, or is another one, which nothing in OVSDB shows.

Its rows stay as they were, with port numbers, counters and BFD's last word, and no packet goes
anywhere any more that the kernel has not been told about before. One that was quickly started again
has none of the rules that were in its bridges.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from linen.core.errors import Unavailable
from linen.ovsdb import vswitchd

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.ovsdb.session import Session

INTERVAL = 1.0  # seconds between two looks
IMPATIENCE = 0.2  # seconds between them while it is away, for a node is waiting to become ready


class Vswitchd:
    """Looks after ovs-vswitchd. `problem`: that it does not run; empty while it does.

    `identity`: of the one that was seen last, None while there is none.
    `on_change`: called when one of these is another.
    """

    def __init__(self, session: Session, on_change: Callable[[], None]) -> None:
        self.problem = ""
        self.identity: tuple[int, float] | None = None
        self._session = session
        self._on_change = on_change

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            before = self.problem, self.identity
            self.problem = self._look()
            if (self.problem, self.identity) != before:
                self._on_change()
            await asyncio.sleep(IMPATIENCE if self.problem else INTERVAL)

    def _look(self) -> str:
        """What to say of ovs-vswitchd. While OVSDB is away, that is worth saying, and not this."""
        database = self._session.path
        if not self._session.connected:
            return ""
        try:
            self.identity = vswitchd.identity(database)
        except Unavailable as error:
            return error.sentence
        return "" if self.identity else vswitchd.stopped(database).message
