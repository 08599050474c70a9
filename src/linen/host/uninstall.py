# SPDX-License-Identifier: Apache-2.0
"""Linen off this host, in the order that leaves no half-working node behind.

First the conflist, so that the runtime starts no pod that would need the rest; then our programs;
then what is ours in Open vSwitch and in the firewall, and Linux bridges that nothing hangs on any
more. What others use, or changed, stays, and is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from linen.core import errors, naming
from linen.host.checks.folder import read_folder
from linen.host.conflists import (
    CONF_DIR,
    CONFLIST_NAME,
    LINEN,
    SECONDARY_CONF_DIR,
    is_managed,
    networks_of,
)
from linen.host.errors import HostError
from linen.host.files import remove_file
from linen.host.inventory import read_inventory
from linen.host.linux_bridges import gateways, remove_idle
from linen.host.node import DEFAULT_OVSDB
from linen.host.ovs_removal import PATIENCE, remove_from
from linen.host.programs import is_linen
from linen.host.record import KNOWN_NODES, Record
from linen.light.sock import Deadline
from linen.netlink.codec import NetlinkError
from linen.netlink.nftables import TABLE_PREFIX, Nftables
from linen.openflow import wire
from linen.openflow.session import socket_of, visit
from linen.openflow.table import Changes
from linen.ovsdb.blocking import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linen.host.checks.folder import Folder
    from linen.host.conflists import Conflist
    from linen.host.inventory import Bridge, Port


@dataclass
class Report:
    """What was done, and what stays for which reason. `failed`: a second call is needed."""

    removed: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    failed: bool = False


@dataclass(frozen=True)
class DaemonsPart:
    """What is one daemon's: its conflist, its network, and that in the OVSDB at `ovsdb`."""

    conflist: Path
    network: str
    ovsdb: str


def uninstall(
    bin_dir: Path,
    conf_dir: Path,
    state_dir: Path,
    *,
    keep_overlay: bool = False,
    only: DaemonsPart | None = None,
) -> Report:
    """Remove what is ours, or `only` one daemon's part of it.

    Raises `HostError` where the record cannot be read, or a daemon would make all of it anew.
    """
    record = Record.read(state_dir)
    report = Report()
    folder = read_folder(conf_dir)
    path = only.conflist if only else conf_dir / CONFLIST_NAME
    ours = [one for one in folder.ours if one.path == path or _is_written_for(one, only)]
    rest = [one for one in folder.conflists if one not in ours]
    rest += _elsewhere(conf_dir)
    networks = networks_of(ours)
    record.databases |= {network.options.ovsdb for network in networks}
    if only is not None:
        record.databases.add(only.ovsdb)
    daemons = _other_daemons(record.databases or {DEFAULT_OVSDB}, only)
    for each in sorted({path, *(one.path for one in ours)}):
        _remove_conflist(each, folder, record, report)
    _remove_programs(bin_dir, record, rest, report)
    if keep_overlay:
        report.stays.append("the overlay: OVS bridges and tunnels go on without the plugin")
    else:
        left = networks_of(rest)
        record.linux_bridges |= {one.linux_bridge: sorted(gateways(one)) for one in networks}
        for network in left:
            record.linux_bridges.pop(network.linux_bridge, None)
        keep = daemons | {network.name for network in left}
        _remove_traces(state_dir, record, keep, report)
    record.write()
    return report


def _remove_traces(state_dir: Path, record: Record, keep: set[str], report: Report) -> None:
    """Remove what networks other than `keep` have in Open vSwitch, the kernel and `state_dir`."""
    gone = _remove_overlay(record, keep, report)
    _remove_guards(keep, report)
    _remove_linux_bridges(record, gone, report)
    _remove_known_nodes(state_dir, keep, report)


def _is_written_for(conflist: Conflist, only: DaemonsPart | None) -> bool:
    """Whether flaxd wrote it, and if this is about one daemon's part, for that one's network."""
    return is_managed(conflist.document) and (only is None or only.network == conflist.name)


def _other_daemons(databases: Iterable[str], only: DaemonsPart | None) -> set[str]:
    """The networks that a flaxd keeps now, other than the one whose part this is about.

    Raises `HostError` where all of a host's is to go and a daemon would make it anew.
    """
    networks: set[str] = set()
    is_any = False
    for path in databases:
        # An OVSDB that is away is told of when its rows are to be removed.
        with contextlib.suppress(errors.LinenError):
            is_there, found = _find_daemons(path)
            is_any |= is_there or bool(found)
            networks |= found
    if only is None and is_any:
        of_networks = f" of network {', '.join(sorted(networks))}" if networks else ""
        raise HostError(
            f"flaxd{of_networks} runs on this node, and would make anew what is removed",
            "stop it first: `systemctl stop flaxd`, or in a cluster delete its DaemonSet",
        )
    return networks - {only.network} if only is not None else networks


def _find_daemons(path: str) -> tuple[bool, set[str]]:
    """Whether a flaxd uses the OVSDB at a socket, and the networks there that one keeps.

    One that does not know its nodes yet has nothing there. Raises `Unavailable`.
    """
    with contextlib.closing(Connection(path, Deadline(PATIENCE))) as connection:
        bridges = read_inventory(connection).bridges
        ports = [port for bridge in bridges for port in bridge.ports]
        marked: list[Bridge | Port] = [*bridges, *ports]
        networks = {each.network for each in marked if each.network is not None}
        kept = {one for one in networks if connection.is_held(naming.writers_lock(one))}
        return connection.is_held(naming.FLAXD_LOCK), kept


def _elsewhere(conf_dir: Path) -> list[Conflist]:
    """Ours in the folder of secondary networks, or, where it is that one, in the runtime's."""
    pair = {CONF_DIR: SECONDARY_CONF_DIR, SECONDARY_CONF_DIR: CONF_DIR}
    other = pair.get(str(conf_dir))
    return read_folder(Path(other)).ours if other is not None else []


def _remove_conflist(path: Path, folder: Folder, record: Record, report: Report) -> None:
    """Ours if it names linen, or if we wrote it and it is no other plugin's by now."""
    named = any(conflist.path == path for conflist in folder.ours)
    others = not named and any(conflist.path == path for conflist in folder.conflists)
    recorded = record.files.pop(str(path), None)
    if named or (recorded and not others and path.exists()):
        remove_file(path)
        report.removed.append(str(path))
    elif path.exists():
        report.stays.append(f"{path}: it is not a conflist of linen")


def _remove_programs(bin_dir: Path, record: Record, rest: list[Conflist], report: Report) -> None:
    """Our plugin, and the reference plugins that we copied, unless another conflist names them.

    One that has to stay for that reason stays in the record too, for a later call.
    """
    needed = {name: one.path for one in rest for name in one.programs()}
    for path in sorted({*map(Path, record.files), bin_dir / LINEN}):
        if path.exists() and path.name in needed:
            report.stays.append(f"{path}: {needed[path.name]} names it")
            continue
        ours = record.owns(path) or (path.name == LINEN and is_linen(path))
        if ours and not _could_remove(path, report):
            continue
        record.files.pop(str(path), None)
        if not ours and path.exists():
            report.stays.append(f"{path}: it is not the file that was installed")


def _could_remove(path: Path, report: Report) -> bool:
    """Remove a program. One that cannot be removed must not keep the rest of ours here."""
    try:
        remove_file(path)
    except OSError as error:
        report.failed = True
        report.stays.append(f"{path}: {error.strerror}")
        return False
    report.removed.append(str(path))
    return True


def _remove_overlay(record: Record, keep: set[str], report: Report) -> set[str]:
    """All marked rows, but those of networks that other conflists still define.

    An OVSDB that does not answer stays in the record, for a later call. Returns the names of the
    OVS bridges that are gone.
    """
    gone: set[str] = set()
    for path in sorted(record.databases or {DEFAULT_OVSDB}):
        try:
            removal = remove_from(path, keep)
        except errors.LinenError as error:
            report.failed = True
            report.stays.append(f"what is ours in Open vSwitch: {error.message}")
            continue
        record.databases.discard(path)
        gone |= {bridge.name for bridge in removal.bridges}
        report.removed += removal.sentences
        report.stays += removal.reasons
        for bridge in removal.staying:
            _take_off(bridge.name, report)
            _remove_rules(bridge.name, socket_of(path, bridge.name), report)
    return gone


def _remove_rules(bridge: str, openflow: str, report: Report) -> None:
    """Our rules of an OVS bridge that stays; ovs-vswitchd, if it does not run, has none."""

    async def remove() -> int:
        async with visit(openflow) as session:
            rules = session.table.rules.items()
            ours = [key for key, content in rules if wire.is_ours(content)]
            if ours:
                await session.apply(Changes([], ours))
            return len(ours)

    if not Path(openflow).exists():
        return
    try:
        number = asyncio.run(remove())
    except errors.LinenError as error:
        report.failed = True
        report.stays.append(f"rules of OVS bridge {bridge}: {error.message}")
        return
    if number:
        report.removed.append(f"{number} rules of OVS bridge {bridge}")


def _remove_linux_bridges(record: Record, gone: set[str], report: Report) -> None:
    """Those that the bridge plugin made for our networks alone.

    One that stays is left to whatever hangs on it, unless all of this has to be done once more.
    """
    for name, own in list(record.linux_bridges.items()):
        outcome = remove_idle(name, own, gone)
        if outcome is not None and outcome.reason:
            report.stays.append(f"Linux bridge {name}: {outcome.reason}")
            if report.failed:
                continue
        elif outcome is not None:
            report.removed.append(f"Linux bridge {name}")
        del record.linux_bridges[name]


def _remove_guards(keep: set[str], report: Report) -> None:
    """flaxd's tables of nftables, but for those of networks that other conflists still define."""
    try:
        nftables = Nftables()
    except OSError:
        return  # a kernel without nftables has no tables
    try:
        for table in sorted(nftables.tables()):
            if table.startswith(TABLE_PREFIX) and table.removeprefix(TABLE_PREFIX) not in keep:
                nftables.remove(table)
                report.removed.append(f"nftables' {table}")
    except NetlinkError as error:
        report.failed = True
        report.stays.append(f"flaxd's tables of nftables: {os.strerror(error.errno)}")
    finally:
        nftables.close()


def _remove_known_nodes(state_dir: Path, keep: set[str], report: Report) -> None:
    """What flaxd keeps of the cluster, in a folder for each network."""
    for path in sorted(state_dir.glob(f"*/{KNOWN_NODES}")):
        if path.parent.name not in keep and _could_remove(path, report):
            path.parent.rmdir()


def _take_off(device: str, report: Report) -> None:
    """An OVS bridge that stays hangs on no Linux bridge any more."""
    from pyroute2 import IPRoute  # 0.3 s, and only a bridge that stays needs it

    with IPRoute() as kernel:
        for link in kernel.get_links(ifname=device):
            if link.get_attr("IFLA_MASTER"):
                kernel.link("set", index=link["index"], master=0)
                report.removed.append(f"device {device} from its Linux bridge")
