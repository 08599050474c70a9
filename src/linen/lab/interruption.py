# SPDX-License-Identifier: Apache-2.0
"""Signals that end a program, put off until it has tidied up.

An exception that a signal raises can strike between any two instructions, so also in the middle
of the tidying.
Here a signal only calls a function, and takes its usual effect at the end of the block.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Which signal has come, if any, and what to do when one comes."""

    def __init__(self) -> None:
        """No signal yet."""
        self.signal: int | None = None
        self._reaction: Callable[[], None] | None = None
        self._final = False

    def react_with(self, reaction: Callable[[], None]) -> None:
        """Call `reaction` when a signal comes; at once, if one has come already."""
        self._reaction = reaction
        if self.signal is not None:
            reaction()

    def finish(self) -> None:
        """Ignore signals from the end of the block on: all that follows is the program's end."""
        self._final = True

    def handler_after(self, before: Handler) -> Handler:
        """Give the handler that a signal has after the block."""
        return signal.SIG_IGN if self._final else before

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
            signal.signal(number, interruption.handler_after(handler))
        if interruption.signal is not None:
            signal.raise_signal(interruption.signal)
