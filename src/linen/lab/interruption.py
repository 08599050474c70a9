# SPDX-License-Identifier: Apache-2.0
"""Signals that end a program, put off until it has tidied up.

An exception that a signal raises can strike between any two instructions, so also in the middle
of the tidying.
Here a signal only calls a function, and takes its usual effect at the end of the block.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Which signal has come, if any, and what to do when one comes."""

    def __init__(self) -> None:
        """No signal yet."""
        self.signal: int | None = None
        self._reaction: Callable[[], None] | None = None

    def react_with(self, reaction: Callable[[], None]) -> None:
        """Call `reaction` when a signal comes; at once, if one has come already."""
        self._reaction = reaction
        if self.signal is not None:
            reaction()

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember a signal (this is the handler)."""
        self.signal = number
        if self._reaction:
            self._reaction()


@contextmanager
def signals_put_off() -> Iterator[Interruption]:
    """Put signals off to the end of the block; only the main thread receives any."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {
        number: signal.signal(number, interruption.note) or signal.SIG_DFL
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if interruption.signal is not None:
            signal.raise_signal(interruption.signal)
