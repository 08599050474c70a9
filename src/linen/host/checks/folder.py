# SPDX-License-Identifier: Apache-2.0
"""Checks of a folder of conflists, as a runtime has it: who may read them, and which comes first.

`networks` has those of what the conflists define.
"""

from __future__ import annotations

import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linen.host.checks import multus
from linen.host.conflists import (
    LINEN,
    MULTUS,
    ConflistUnreadable,
    conflist_files,
    is_managed,
    networks_of,
    read_conflist,
)
from linen.host.findings import Check, error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.host.conflists import Conflist, Network
    from linen.host.findings import Finding

USER_OF_IMAGE = 65532  # flaxd's in a cluster: packaging/Containerfile, deploy/base/daemonset.yaml
USER_OF_SERVICE = "flaxd"  # packaging/systemd/flaxd.sysusers.conf


@dataclass(frozen=True)
class Folder:
    """A folder's files in the runtime's order, those that could be read, and why others could not.

    `conflists` holds those of all plugins, not only ours.
    """

    path: Path
    files: tuple[Path, ...]
    conflists: tuple[Conflist, ...]
    unreadable: tuple[Finding, ...]

    @property
    def ours(self) -> list[Conflist]:
        """Those that name linen."""
        return [conflist for conflist in self.conflists if conflist.of_type(LINEN)]

    @property
    def networks(self) -> list[Network]:
        """The networks that Linen serves here."""
        return networks_of(self.ours)


def read_folder(path: Path) -> Folder:
    """Read a folder, or a folder's absence. Raises `OSError` for what is no folder."""
    files = conflist_files(path) if path.exists() else []
    conflists, unreadable = [], []
    for file in files:
        try:
            conflists.append(read_conflist(file))
        except ConflistUnreadable as fault:
            unreadable.append(fault.finding)
    return Folder(path, tuple(files), tuple(conflists), tuple(unreadable))


def readable(folder: Folder) -> Iterator[Finding]:
    """Every file is JSON; a runtime stops at one that is not."""
    yield from folder.unreadable


def present(folder: Folder) -> Iterator[Finding]:
    """There is a conflist of ours; it may be one that cannot be read, or only Multus' copy."""
    if not folder.ours and not folder.unreadable and not multus.has_copy(folder):
        yield warning(
            str(folder.path),
            "no conflist here names linen, so no pod of this node is in an overlay",
            cure="`linenctl install --conflist FILE`",
        )


def file_mode(folder: Folder) -> Iterator[Finding]:
    """Our conflists belong to root alone (CIS Kubernetes Benchmark, 1.1.9 and 1.1.10).

    Or to flaxd, which needs no root, and then the ones that it writes are its own.
    """
    flaxds = _users_of_flaxd()
    for conflist in folder.ours:
        status = conflist.path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o022 or status.st_uid not in {0, *flaxds}:
            yield error(
                str(conflist.path),
                f"others than root may change it (mode {mode:04o}, owner {status.st_uid})",
                cause="who changes it decides which programs run as root for each pod",
                cure=f"chown root {conflist.path} && chmod 600 {conflist.path}",
            )
        elif mode & 0o077:
            yield warning(
                str(conflist.path),
                f"its mode is {mode:04o}; hardening guides ask for 0600",
                cure=f"chmod 600 {conflist.path}",
            )
        elif status.st_uid != 0:
            yield note(
                str(conflist.path),
                f"it belongs to flaxd's user, {status.st_uid}, since flaxd wrote it",
                cause="hardening guides ask for root, and flaxd does without root's rights",
            )


def _users_of_flaxd() -> set[int]:
    """Whom flaxd runs as: in a cluster, and with systemd if there is such a user here."""
    users = {USER_OF_IMAGE}
    with suppress(KeyError):
        users.add(pwd.getpwnam(USER_OF_SERVICE).pw_uid)
    return users


def first_file(folder: Folder) -> Iterator[Finding]:
    """Our conflist comes first: containerd and CRI-O take the first file alone."""
    ours = [conflist.path for conflist in folder.ours]
    passing_on = [conflist.path for conflist in folder.conflists if _is_of_multus(conflist)]
    if ours and folder.files[0] not in ours + passing_on:
        yield warning(
            str(folder.files[0]),
            f"this file comes before {ours[0].name}, so pods get its network and not ours",
            cause="a runtime takes the first file in alphabetical order",
            cure=f"remove it, or {_to_come_first(folder.ours[0])}",
        )


def _is_of_multus(conflist: Conflist) -> bool:
    return any(map(conflist.of_type, MULTUS))


def _to_come_first(conflist: Conflist) -> str:
    name = f"05-{conflist.path.name}"
    if not is_managed(conflist.document):
        return f"rename ours, for example to {name}"
    path = conflist.path.with_name(name)  # a file that was renamed flaxd would write anew
    return f"have flaxd write another one, for example by LINEN_CONFLIST={path}, and remove ours"


def same_name(folder: Folder) -> Iterator[Finding]:
    """Each network's name is its own.

    Multus' file defines none: by --override-network-name it has that of the network it passes on.
    """
    seen: dict[str, Conflist] = {}
    for conflist in (one for one in folder.conflists if not _is_of_multus(one)):
        first = seen.setdefault(conflist.name, conflist)
        if first is not conflist and conflist.name:
            yield error(
                str(conflist.path),
                f"network {conflist.name} is defined in {first.path.name} already",
                cause="the runtime takes one of them; addresses of both are counted together",
                cure="rename one network, or remove one file",
            )


CHECKS: tuple[Check[Folder], ...] = (
    Check("readable", "every file is JSON", readable),
    Check("conflist-missing", "a conflist names linen", present),
    Check("file-mode", "the conflist belongs to root alone", file_mode),
    Check("first-file", "the runtime takes our conflist first", first_file),
    Check("multus-copy", "Multus' copy of our conflist, if any, is as ours", multus.stale_copy),
    Check("same-name", "every network has a name of its own", same_name),
)

# In a folder of secondary networks a conflist is found by its name, and there may be none.
_OF_THE_DEFAULT = ("conflist-missing", "first-file", "multus-copy")
SECONDARY_CHECKS = tuple(check for check in CHECKS if check.name not in _OF_THE_DEFAULT)
