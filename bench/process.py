# SPDX-License-Identifier: Apache-2.0
"""Starting a program with as little as possible in between, and timing it to its end.

The time runs from before the start to the moment its exit status is known, which is what a
container runtime waits for. Input and output are files in memory, so nobody has to serve pipes
meanwhile. The kernel's own accounting tells how much of it was computing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Invocation(NamedTuple):
    """A program, how to call it, and what it finds on its standard input."""

    argv: Sequence[str | Path]
    env: Mapping[str, str]
    stdin: bytes = b""


class Sample(NamedTuple):
    """One run, in seconds: all of it, and the processor's time in user space and in the kernel.

    The latter two include children that the program has waited for. `faults`: pages that the
    kernel had to map in.
    """

    wall: float
    user: float
    system: float
    faults: int


class ProgramFailed(Exception):
    """A program that is measured must succeed, or its time means nothing."""


class Finished(NamedTuple):
    """A program that has ended. `begun`, `ended`: seconds on a clock that all share."""

    invocation: Invocation
    begun: float
    ended: float
    sample: Sample
    status: int
    stdout: bytes
    stderr: bytes

    def refuse_failure(self) -> None:
        """Raise `ProgramFailed` unless it succeeded."""
        if self.status != 0:
            words = " ".join(map(str, self.invocation.argv))
            command = self.invocation.env.get("CNI_COMMAND", "")
            said = (self.stdout + self.stderr).decode(errors="backslashreplace")
            raise ProgramFailed(f"{words} {command}: status {self.status}: {said[-2000:]}")


class Running:
    """A program that has been started; wait for it exactly once."""

    def __init__(self, invocation: Invocation) -> None:
        """Start it."""
        argv, env, stdin = self._invocation = invocation
        self._files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        os.write(self._files[0], stdin)
        os.lseek(self._files[0], 0, os.SEEK_SET)
        plumbing = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(self._files)]
        self._begun = time.perf_counter()
        self._pid = os.posix_spawn(argv[0], tuple(argv), env, file_actions=plumbing)

    def wait(self) -> Finished:
        """Wait for its end."""
        _, status, usage = os.wait4(self._pid, 0)
        ended = time.perf_counter()
        _, stdout, stderr = (_drain(fd) for fd in self._files)
        wall = ended - self._begun
        sample = Sample(wall, usage.ru_utime, usage.ru_stime, usage.ru_minflt)
        code = os.waitstatus_to_exitcode(status)
        return Finished(self._invocation, self._begun, ended, sample, code, stdout, stderr)


def _drain(fd: int) -> bytes:
    """What was written to a file in memory, which is closed."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        return file.read()
