# SPDX-License-Identifier: Apache-2.0
"""Keeps the daemon from racing with somebody who undoes its changes.

Many nodes that join one after the other are many changes, but each of them is made once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

REPEATS = 20  # of one change, after which somebody else seems to undo it
CALM = 5.0  # seconds without that change after which its count starts again
UNDONE_PAUSE = 1.0  # seconds before it is made once more


class ChangePace:
    """How long to wait before a change that somebody keeps undoing."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[int, float]] = {}  # change: how often in a row, when last

    def changing(self, changes: Sequence[str], now: float) -> float:
        """Seconds until these changes may be made: none, unless one was made many times before."""
        self._made = {c: made for c, made in self._made.items() if now - made[1] <= CALM}
        for change in changes:
            count, _ = self._made.get(change, (0, now))
            self._made[change] = (count + 1, now)
        is_undone = any(self._made[change][0] > REPEATS for change in changes)
        return UNDONE_PAUSE if is_undone else 0.0
