# SPDX-License-Identifier: Apache-2.0
"""Linen on this host: the plugin, the reference plugins that its conflist names, the conflist.

`prepare` looks at everything and raises before anything is written; `Installation.apply` writes,
the conflist last, since a node is ready for pods from the moment that the runtime finds it.
Files of others stay as they are.
"""

from __future__ import annotations

import json
import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from linen.core import errors
from linen.host.cni_versions import fit_versions
from linen.host.conflists import (
    CONFLIST_NAME,
    LINEN,
    Conflist,
    ConflistUnreadable,
    conflist_files,
    networks_of,
    parse_conflist,
    read_conflist,
)
from linen.host.diagnosis import diagnose_conflist
from linen.host.errors import ConflistRefused, HostError
from linen.host.files import PROGRAM, SECRET, digest, find_digest, write_whole
from linen.host.findings import has_errors
from linen.host.node import Node
from linen.host.programs import (
    FLAXD_CHAIN,
    OF_THE_RUNTIME,
    PACKAGE,
    REFERENCE_FOLDERS,
    ask_versions,
    find_linen,
    find_reference,
    is_program,
)
from linen.host.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.findings import Finding


@dataclass(frozen=True)
class InstallRequest:
    """What somebody asked for. `conflist`, `plugin`: files to install from, None for none, ours.

    `for_flaxd`: the plugins of the conflist that flaxd will write.
    """

    conflist: Path | None
    plugin: Path | None
    bin_dir: Path
    conf_dir: Path
    state_dir: Path
    offline: bool = False
    for_flaxd: bool = False


@dataclass(frozen=True)
class Placement:
    """One file in its place. `source`: where its content comes from, for people."""

    path: Path
    content: bytes
    mode: int
    source: str
    state: Literal["new", "changed", "right"]

    @classmethod
    def of(cls, path: Path, content: bytes, mode: int, source: str) -> Placement:
        """Compare what should be with what is there."""
        seen = find_digest(path)
        if seen is None:
            return cls(path, content, mode, source, "new")
        same = seen == digest(content) and not path.is_symlink()
        right = same and path.stat().st_mode & 0o777 == mode
        return cls(path, content, mode, source, "right" if right else "changed")


@dataclass(frozen=True)
class Installation:
    """All that is to be there in the end.

    `kept`: reference plugins that are there already. `databases`: sockets of the OVSDBs that the
    plugin will write into. `remarks`: what whoever installs should know.
    """

    placements: tuple[Placement, ...]
    kept: tuple[Path, ...]
    databases: tuple[str, ...]
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    record: Record

    def apply(self) -> None:
        """Write what is new or changed, in the order of `placements`: the conflist is the last.

        Raises `HostError` for a folder that we may not write to.
        """
        for placement in self.placements:
            self.record.files[str(placement.path)] = digest(placement.content)
        self.record.databases |= set(self.databases)
        with _explained(self.record.path.parent):
            self.record.write()
        for placement in self.placements:
            if placement.state != "right":
                with _explained(placement.path.parent):
                    placement.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    write_whole(placement.path, placement.content, placement.mode)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say whose a folder is that refuses us: not root's on nodes that kubespray made, for one."""
    try:
        yield
    except PermissionError:
        folder = next(found for found in (folder, *folder.parents) if found.exists())
        about = folder.stat()
        raise HostError(
            f"user {os.geteuid()} may not write to {folder}, which is user {about.st_uid}'s, with"
            f" mode {about.st_mode & 0o7777:04o}",
            "be root with the capability DAC_OVERRIDE, as install-cni is in deploy/base unless a"
            f" policy takes it; or `chown root {folder}` on the node",
        ) from None


def prepare(request: InstallRequest) -> Installation:
    """Look at everything that `request` needs.

    Raises `ConflistRefused` for a wrong conflist, `HostError` for what else is in the way.
    """
    if request.conflist is not None:
        return _with_conflist(request, request.conflist)
    record, remarks = _read_record(request)
    plugin = find_linen(request.plugin)
    ask_versions(plugin)
    names = {*FLAXD_CHAIN, OF_THE_RUNTIME} if request.for_flaxd else set()
    copies, kept = _reference_plugins(names - {LINEN}, request, record)
    placements = _program_placements({LINEN: plugin} | copies, request)
    remarks += tuple(
        f"{path} is a link to {path.readlink()}, which is not seen from here: left to the node"
        for path in kept
        if not path.exists()
    )
    return Installation(tuple(placements), tuple(kept), (), (), remarks, record)


def _read_record(request: InstallRequest) -> tuple[Record, tuple[str, ...]]:
    """The record, and a remark where it has to be begun anew.

    No node stays without its network for a file that only tells what to remove one day.
    """
    try:
        return Record.read(request.state_dir), ()
    except HostError as error:
        if not request.for_flaxd:
            raise
        record = Record.begin_anew(request.state_dir)
        remark = (
            f"{error.message}: it is {record.aside} from now on, and plugins that it may have"
            " listed stay as they are, as others' do"
        )
        return record, (remark,)


def _with_conflist(request: InstallRequest, source: Path) -> Installation:
    record = Record.read(request.state_dir)
    plugin = find_linen(request.plugin)
    conflist = _read_sound(source)
    findings = tuple(diagnose_conflist(conflist))
    if has_errors(findings):
        raise ConflistRefused(f"{source} has errors", findings)
    copies, kept = _reference_plugins(conflist.programs() - {LINEN}, request, record)
    programs = {LINEN: plugin} | copies
    conflist, remarks = fit_versions(conflist, programs | {path.name: path for path in kept})
    if not request.offline:
        _require_open_vswitch(conflist)
    placements = _program_placements(programs, request)
    placements.append(_conflist_placement(conflist, request))
    remarks += _rivals(request.conf_dir)
    return Installation(
        tuple(placements),
        tuple(kept),
        tuple(network.options.ovsdb for network in networks_of([conflist])),
        findings,
        tuple(remarks),
        record,
    )


def _read_sound(path: Path) -> Conflist:
    try:
        return read_conflist(path)
    except ConflistUnreadable as fault:
        raise ConflistRefused(f"{path} has errors", [fault.finding]) from None


def _program_placements(programs: dict[str, Path], request: InstallRequest) -> list[Placement]:
    """Ours first, then the others by name."""
    return [
        Placement.of(request.bin_dir / name, source.read_bytes(), PROGRAM, str(source))
        for name, source in sorted(programs.items(), key=lambda item: (item[0] != LINEN, item[0]))
    ]


def _reference_plugins(
    names: set[str], request: InstallRequest, record: Record
) -> tuple[dict[str, Path], list[Path]]:
    """Which of these plugins have to be copied from where, and which are there.

    One that we copied earlier is copied anew, so that it follows its package. A link is an
    administrator's, who may have put the plugin where a container does not see it.
    """
    copies: dict[str, Path] = {}
    kept: list[Path] = []
    missing: list[str] = []
    for name in sorted(names):
        path, source = request.bin_dir / name, find_reference(name)
        if path.is_symlink() or (is_program(path) and not (source and record.owns(path))):
            _refuse_dangling(path, request)
            kept.append(path)
        elif source is None:
            missing.append(name)
        elif path.exists() and not record.owns(path):
            raise HostError(f"{path} is there, but not executable", "it is not ours to replace")
        else:
            copies[name] = source
    if missing:
        folders = " or ".join(map(str, (request.bin_dir, *REFERENCE_FOLDERS)))
        raise HostError(
            f"{', '.join(missing)}: needed by the chain, and not in {folders}",
            f"reference plugins are in the package {PACKAGE} (apt install {PACKAGE})",
        )
    return copies, kept


def _refuse_dangling(path: Path, request: InstallRequest) -> None:
    """Raises `HostError` for a link to nowhere, which a container alone may be unable to follow."""
    if not (request.for_flaxd or path.exists()):
        raise HostError(
            f"{path} is a link to {path.readlink()}, which is not there",
            "mend it, or remove it to have the distribution's plugin copied there",
        )


def _require_open_vswitch(conflist: Conflist) -> None:
    """A runtime that finds a conflist takes the node for ready, so its overlay has to work."""
    with closing(Node(networks_of([conflist]), Path())) as node:
        answers = [node.read(path) for path in node.databases]
    for answer in answers:
        if isinstance(answer, errors.LinenError):
            raise HostError(answer.message, f"{answer.details}; --offline installs all the same")
        if answer.stopped:
            raise HostError(
                answer.stopped,
                "`systemctl start openvswitch-switch`; --offline installs all the same",
            )


def _conflist_placement(conflist: Conflist, request: InstallRequest) -> Placement:
    """The conflist in the runtime's folder. Raises `HostError` where its name is another's."""
    path = request.conf_dir / CONFLIST_NAME
    if path.exists():
        _require_ours(path)
    text = conflist.path.read_text(encoding="utf-8")
    if parse_conflist(text, path).document != conflist.document:
        text = json.dumps(conflist.document, indent=2) + "\n"  # some version had to go
    return Placement.of(path, text.encode(), SECRET, str(request.conflist))


def _require_ours(path: Path) -> None:
    """Raises `HostError` unless a conflist that is there names linen."""
    try:
        ours, reason = read_conflist(path).of_type(LINEN), "it does not name linen"
    except ConflistUnreadable as fault:
        ours, reason = [], fault.finding.what
    if not ours:
        raise HostError(
            f"{path} is there, and is not known to be Linen's: {reason}",
            "it is not ours to replace: move it away",
        )


def _rivals(conf_dir: Path) -> list[str]:
    """A remark where another file comes first: the runtime takes that one."""
    files = conflist_files(conf_dir) if conf_dir.is_dir() else []
    before = [path.name for path in files if path.name < CONFLIST_NAME]
    if not before:
        return []
    remark = (
        f"{conf_dir / before[0]} comes before {CONFLIST_NAME} in alphabetical order: containerd and"
        " CRI-O take the first file alone, so pods get that network"
    )
    return [remark]
