# SPDX-License-Identifier: Apache-2.0
"""Linen off this host, in the order that leaves no half-working node behind.

First the conflist, so that the runtime starts no pod that would need the rest; then our programs;
then what is ours in Open vSwitch. What others use, or changed, stays, and is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyroute2 import IPRoute

from linen.core import errors
from linen.host.checks.folder import read_folder
from linen.host.conflists import LINEN, networks_of
from linen.host.files import remove_file
from linen.host.install import CONFLIST_NAME
from linen.host.node import DEFAULT_OVSDB
from linen.host.programs import is_linen
from linen.host.record import Record
from linen.host.removal import remove_from

if TYPE_CHECKING:
    from linen.host.conflists import Conflist


@dataclass
class Report:
    """What was done, and what stays for which reason. `failed`: a second call is needed."""

    removed: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    failed: bool = False


def uninstall(bin_dir: Path, conf_dir: Path, state_dir: Path, *, keep_overlay: bool) -> Report:
    """Remove what is ours. Raises `HostError` where the record cannot be read."""
    record = Record.read(state_dir)
    report = Report()
    folder = read_folder(conf_dir)
    ours = [conflist for conflist in folder.ours if conflist.path.name == CONFLIST_NAME]
    rest = [conflist for conflist in folder.conflists if conflist not in ours]
    for conflist in ours:
        remove_file(conflist.path)
        report.removed.append(str(conflist.path))
    _remove_programs(bin_dir, record, rest, report)
    record.files.clear()
    record.write()
    if keep_overlay:
        report.stays.append("the overlay: OVS bridges and tunnels go on without the plugin")
    else:
        _remove_overlay(ours, rest, report)
    return report


def _remove_programs(bin_dir: Path, record: Record, rest: list[Conflist], report: Report) -> None:
    """Our plugin, and the reference plugins that we copied, unless another conflist names them."""
    needed = {name: one.path for one in rest for name in one.programs()}
    candidates = {path for path in map(Path, record.files) if path.suffix != ".conflist"}
    for path in sorted(candidates | {bin_dir / LINEN}):
        if not path.exists():
            continue
        if path.name in needed:
            report.stays.append(f"{path}: {needed[path.name]} names it")
        elif record.owns(path) or (path.name == LINEN and is_linen(path)):
            remove_file(path)
            report.removed.append(str(path))
        else:
            report.stays.append(f"{path}: it is not the file that was installed")


def _remove_overlay(ours: list[Conflist], rest: list[Conflist], report: Report) -> None:
    """All marked rows, but those of networks that other conflists still define."""
    keep = {network.name for network in networks_of(rest)}
    databases = {network.options.ovsdb for network in networks_of(ours)} or {DEFAULT_OVSDB}
    for path in sorted(databases):
        try:
            removal = remove_from(path, keep)
        except errors.LinenError as error:
            report.failed = True
            report.stays.append(f"what is ours in Open vSwitch: {error.message}")
            continue
        report.removed += removal.sentences
        report.stays += removal.reasons
        for bridge in removal.staying:
            _take_off(bridge.name, report)


def _take_off(device: str, report: Report) -> None:
    """An OVS bridge that stays hangs on no Linux bridge any more."""
    with IPRoute() as kernel:
        for link in kernel.get_links(ifname=device):
            if link.get_attr("IFLA_MASTER"):
                kernel.link("set", index=link["index"], master=0)
                report.removed.append(f"device {device} from its Linux bridge")
