# SPDX-License-Identifier: Apache-2.0
"""Making and entering Linux namespaces from Python.

Python has `os.setns` and `os.unshare` only from 3.12 on, so libc is called directly.
Joining happens in a thread of its own: a process that such a thread starts is born inside the
namespaces, without `nsenter` in between, and the rest of our process stays where it is.
`setns` with a pidfd (Linux 5.8) joins all namespaces of a process in one call, free of any race
with a reused process id.
"""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# <linux/sched.h>
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
EVERY_KIND = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET

# <linux/mount.h>
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(kinds: int) -> None:
    """Move the calling thread into new namespaces of `kinds` (CLONE_* or-ed)."""
    _check(_libc.unshare(kinds), "unshare")


def join(fd: int, kinds: int) -> None:
    """Move the calling thread into existing namespaces.

    `fd` is a pidfd, or one namespace's file.
    A thread shares its root and working directory with its process until it unshares them.
    """
    if kinds & CLONE_NEWNS:
        unshare(CLONE_FS)
    _check(_libc.setns(fd, kinds), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system, or bind a path; OSError names the target."""
    status = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), flags, options.encode() or None
    )
    _check(status, f"mount {kind or source} on {target}")


def set_host_name(name: str) -> None:
    """Name the machine within the caller's UTS namespace."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def call_inside(enter: Callable[[], None], function: Callable[[], T]) -> T:
    """Run `enter`, then `function`, in a fresh thread; return or raise what they do.

    `function` can start processes and open sockets and files in there, but no thread: a thread
    cannot be born into another PID namespace than its process's.
    """
    outcome: Future[T] = Future()

    def body() -> None:
        try:
            enter()
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 (it is raised again, by the caller's thread)
            outcome.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return outcome.result()


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
