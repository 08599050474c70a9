# SPDX-License-Identifier: Apache-2.0
"""The peak memory of a program, exactly.

`ru_maxrss` won't do: the kernel carries it over from the process that starts another, so a small
program that a large one starts looks large (getrusage(2), and fs/exec.c, exec_mmap()).
Instead the program is stopped at the moment of its exit, where /proc still tells its VmHWM.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import signal
from typing import TYPE_CHECKING

from bench.process import ProgramFailed

if TYPE_CHECKING:
    from bench.process import Invocation

# <linux/ptrace.h>
PTRACE_CONT = 7
PTRACE_SEIZE = 0x4206
PTRACE_O_TRACEEXIT = 0x40
PTRACE_EVENT_EXIT = 6

LARGEST_INPUT = 1 << 20  # bytes that the pipe to the program can hold

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long

# Opened here because callers work in other mount namespaces, whose /proc has other process ids.
_PROC = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def peak_memory(invocation: Invocation) -> int:
    """The largest resident set that a program had in its life, in bytes.

    Raises `OSError` where tracing is forbidden, `ProgramFailed` where the program fails.
    """
    argv, env, stdin = invocation
    end, begin = os.pipe()  # as long as it is open, a plugin waits for its configuration
    fcntl.fcntl(begin, fcntl.F_SETPIPE_SZ, LARGEST_INPUT)
    output = os.memfd_create("output")
    plumbing = [(os.POSIX_SPAWN_DUP2, fd, n) for fd, n in ((end, 0), (output, 1), (output, 2))]
    pid = os.posix_spawn(argv[0], tuple(argv), env, file_actions=plumbing)
    os.close(end)
    with os.fdopen(output, "rb") as file:
        try:
            _ptrace(PTRACE_SEIZE, pid, PTRACE_O_TRACEEXIT)
            os.write(begin, stdin)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        finally:
            os.close(begin)
        peak, status = _peak_at_exit(pid)
        file.seek(0)
        if status != 0:
            raise ProgramFailed(f"{argv[0]}: status {status}: {file.read().decode()}")
    return peak


def _peak_at_exit(pid: int) -> tuple[int, int]:
    """Let a traced program run to its end: its peak in bytes, and its exit status."""
    peak = 0
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return peak, os.waitstatus_to_exitcode(status)
        if status >> 8 == signal.SIGTRAP | PTRACE_EVENT_EXIT << 8:
            peak = high_water_mark(pid)
            _ptrace(PTRACE_CONT, pid, 0)
        else:
            _ptrace(PTRACE_CONT, pid, os.WSTOPSIG(status))  # Go's threads send one another signals


def high_water_mark(pid: int) -> int:
    """The largest resident set that a running program has had until now, in bytes."""
    with os.fdopen(os.open(f"{pid}/status", os.O_RDONLY, dir_fd=_PROC)) as file:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", file.read(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status has no VmHWM")
    return int(found[1]) * 1024


def _ptrace(request: int, pid: int, data: int) -> None:
    if _libc.ptrace(request, pid, None, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}; peak memory needs CAP_SYS_PTRACE")
