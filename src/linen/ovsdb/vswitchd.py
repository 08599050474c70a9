# SPDX-License-Identifier: Apache-2.0
"""Whether ovs-vswitchd runs, without asking it or anybody.

OVSDB does not show it: when ovs-vswitchd has ended its rows stay as they were. Its lock of the
server, `ovs_vswitchd`, does; but who asks for that lock has it for a moment, and an ovs-vswitchd
that comes for it just then, since its server was restarted, takes the asker for another
ovs-vswitchd and removes all bridges (bridge_run, vswitchd/bridge.c).
"""

from __future__ import annotations

import posix

from linen.core import errors

PIDFILE = "ovs-vswitchd.pid"
FOLDER = "/var/run/openvswitch"  # Open vSwitch's own, where sockets and pidfiles are (OVS_RUNDIR)


def is_running(database: str) -> bool:
    """Whether an ovs-vswitchd runs. Raises `Unavailable` where that cannot be seen."""
    return identity(database) is not None


def identity(database: str) -> tuple[int, float] | None:
    """What tells the ovs-vswitchd that runs from those before it; None while none runs.

    It is looked for beside the socket of this OVSDB and in the usual folder. A daemon of Open
    vSwitch locks its pidfile, which is another file each time, for as long as it lives
    (make_pidfile, lib/daemon-unix.c). Raises `Unavailable` where that cannot be read.
    """
    for folder in _folders(database):
        found = _locked(f"{folder}/{PIDFILE}")
        if found is not None:
            return found
    return None


def stopped(database: str) -> errors.VswitchdStopped:
    """What to say where it does not run."""
    return errors.VswitchdStopped(
        f"ovs-vswitchd is not running: nothing serves the OVSDB at {database}",
        "start Open vSwitch (`systemctl start openvswitch-switch`); one that runs holds its"
        f" {PIDFILE} in {' or '.join(_folders(database))}",
    )


def _folders(database: str) -> list[str]:
    own = database.rpartition("/")[0]
    return [own] if own == FOLDER else [own, FOLDER]


def _locked(path: str) -> tuple[int, float] | None:
    """Inode and time of a file that somebody has locked."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.Unavailable(
            f"{path} cannot be read: {error.strerror}",
            "it tells whether ovs-vswitchd runs: run this as root, or as a user who may read it",
        ) from None
    try:
        posix.lockf(descriptor, posix.F_TEST, 0)
    except OSError:  # EACCES, EAGAIN: another process has it
        status = posix.fstat(descriptor)
        return status.st_ino, status.st_mtime
    finally:
        posix.close(descriptor)
    return None
