# SPDX-License-Identifier: Apache-2.0
"""flaxd behind a filter of system calls, as systemd or a container runtime puts one in its way.

    filtered_flaxd.py CALLS [OPTION]…

CALLS are those that are allowed, with commas between; the options are flaxd's.

All others fail with EPERM, and so does memory that can be written and executed
(systemd.exec(5), MemoryDenyWriteExecute=). Linux wants no_new_privs for it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import sys

from linen.flaxd.main import main

# seccomp.h of libseccomp
SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_ERRNO_EPERM = 0x00050000 | errno.EPERM
SCMP_CMP_MASKED_EQ = 7

WRITE, EXECUTE = mmap.PROT_WRITE, mmap.PROT_EXEC
PROTECTION = 2  # which argument of mmap and mprotect it is
# What protection may be, as (mask, value); any of these.
ALLOWED_MAPS = [(WRITE | EXECUTE, value) for value in (0, WRITE, EXECUTE)]
ALLOWED_CHANGES = [(EXECUTE, 0)]
CONDITIONS = {
    "mmap": ALLOWED_MAPS,
    "mprotect": ALLOWED_CHANGES,
    "pkey_mprotect": ALLOWED_CHANGES,
}


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def confine(calls: list[str]) -> None:
    """Forbid this process and all its children every other system call, for ever."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_ERRNO_EPERM))
    for call in calls:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            continue  # another architecture's
        conditions = CONDITIONS.get(call)
        if conditions is None:
            _check(seccomp.seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number, 0, None), call)
        for mask, value in conditions or []:
            one = Comparison(PROTECTION, SCMP_CMP_MASKED_EQ, mask, value)
            added = seccomp.seccomp_rule_add_array(
                context, SCMP_ACT_ALLOW, number, 1, ctypes.byref(one)
            )
            _check(added, call)
    _check(seccomp.seccomp_load(context), "seccomp_load")


def _check(status: int, what: str) -> None:
    if status < 0:
        raise OSError(-status, what)


if __name__ == "__main__":
    confine(sys.argv.pop(1).split(","))
    main()
