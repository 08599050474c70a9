# SPDX-License-Identifier: Apache-2.0
"""A process that is known for certain: its id together with its start time.

Process ids are reused.
So a signal goes out only through a pidfd, and only after the start time behind that pidfd has
been found to be the recorded one.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from linen.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# proc_pid_stat(5): field 22 of the line, the 20th after the command's closing parenthesis.
_START_TIME = 19
# What pidfd_open(2) says of an id that a thread has, not a process: the second was seen on 6.18.
_IDS_OF_THREADS = {errno.EINVAL, errno.ENOENT}


class Process(NamedTuple):
    """`start_time` is in clock ticks since boot, as /proc says it."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Identify a process that runs now; ProcessLookupError if none does."""
        try:
            line = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError as error:
            raise ProcessLookupError(pid) from error
        return cls(pid, int(line.rpartition(")")[2].split()[_START_TIME]))

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Yield a pidfd that is certainly this process; ProcessLookupError if it is gone."""
        pidfd = self._open()
        try:
            if Process.of(self.pid) != self or _has_ended(pidfd, 0):
                raise ProcessLookupError(self.pid)
            yield pidfd
        finally:
            os.close(pidfd)

    def _open(self) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno in _IDS_OF_THREADS:
                raise ProcessLookupError(self.pid) from error
            raise

    def is_alive(self) -> bool:
        """Tell whether the process still runs (a zombie does not)."""
        try:
            with self.opened():
                return True
        except ProcessLookupError:
            return False

    def kill(self, then: Callable[[], None] = lambda: None, deadline: float = 10) -> None:
        """Kill the process, call `then`, and wait at most `deadline` seconds for its end."""
        try:
            with self.opened() as pidfd:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                then()
                if not _has_ended(pidfd, deadline):
                    raise LabError(
                        f"process {self.pid} has not ended {deadline} s after SIGKILL; is there "
                        "a suspended `linenctl lab exec`, which keeps its command from ending?"
                    )
        except ProcessLookupError:
            return  # it had ended before, which is what was to be achieved


def _has_ended(pidfd: int, timeout: float) -> bool:
    """A pidfd becomes readable when its process ends (pidfd_open(2))."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
