# SPDX-License-Identifier: Apache-2.0
"""What this process may not do, and would have to, said once at the start.

Most of what the daemon needs it can be given in several ways (a capability, a group, the owner of a
file), so what counts is whether a thing can be done; the sentence names the shortest way.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linen.settings.table import Settings

CAP_NET_ADMIN = 12  # linux/capability.h


def faults(settings: Settings) -> list[str]:
    """One sentence for each right that is missing."""
    found = []
    if not _has_capability(CAP_NET_ADMIN):
        found.append(
            f"without CAP_NET_ADMIN {settings.overlay.ovs_bridge} cannot be put on"
            f" {settings.linux_bridge}: the plugin does it, with the next pod"
        )
    socket = Path(settings.overlay.ovsdb)
    folders = {settings.conflist.parent: "the conflist", settings.state_dir: "the known nodes"}
    if not _may_write(socket):
        found.append(
            f"user {os.geteuid()} may not connect to OVSDB at {socket}: give flaxd"
            " CAP_DAC_OVERRIDE, or this user the right to write to the socket"
        )
    for folder, what in folders.items():
        if not _may_write(folder):
            found.append(
                f"user {os.geteuid()} may not write {what} into {folder}: {_remedy(folder)}"
            )
    return found


def _may_write(path: Path) -> bool:
    """Whether this process may write to `path`, or may make it where it is not there yet.

    Where nobody can tell, since a folder above is closed, it may not.
    """
    for candidate in (path, *path.parents):
        if os.access(candidate, os.F_OK, effective_ids=True):
            return os.access(candidate, os.W_OK, effective_ids=True)
    return False


def _remedy(folder: Path) -> str:
    existing = next(p for p in (folder, *folder.parents) if os.access(p, os.F_OK))
    if os.statvfs(existing).f_flag & os.ST_RDONLY:
        return "its file system is read-only: mount it writable there"
    return "give flaxd CAP_DAC_OVERRIDE, or make that folder this user's"


def _has_capability(number: int) -> bool:
    """Whether it is effective; taken for granted where no /proc tells, since its use will tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return True
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> number & 1)
