# SPDX-License-Identifier: Apache-2.0
"""Checks of a folder of conflists, as a runtime has it: who may read them, and do they agree."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from linen.core import desired
from linen.core.neighbours import identity
from linen.host.conflists import (
    LINEN,
    ConflistUnreadable,
    conflist_files,
    networks_of,
    read_conflist,
)
from linen.host.findings import Check, error, warning
from linen.host.pod_ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.host.conflists import Conflist, Network
    from linen.host.findings import Finding
    from linen.host.pod_ranges import PodRange


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

    def pairs(self) -> list[tuple[Network, Network]]:
        """Any two of them; two of one name are one network, of which another check tells."""
        pairs = combinations(self.networks, 2)
        return [(first, second) for first, second in pairs if first.name != second.name]


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
    """There is a conflist of ours; it may be one that cannot be read."""
    if not folder.ours and not folder.unreadable:
        yield warning(
            str(folder.path),
            "no conflist here names linen, so no pod of this node is in an overlay",
            cure="`linenctl install --conflist FILE`",
        )


def file_mode(folder: Folder) -> Iterator[Finding]:
    """Our conflists belong to root alone (CIS Kubernetes Benchmark, 1.1.9 and 1.1.10)."""
    for conflist in folder.ours:
        status = conflist.path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o022 or status.st_uid != 0:
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


def first_file(folder: Folder) -> Iterator[Finding]:
    """Our conflist comes first: containerd and CRI-O take the first file alone."""
    ours = [conflist.path for conflist in folder.ours]
    if ours and folder.files[0] not in ours:
        yield warning(
            str(folder.files[0]),
            f"this file comes before {ours[0].name}, so pods get its network and not ours",
            cause="a runtime takes the first file in alphabetical order",
            cure=f"remove it, or rename ours, for example to 05-{ours[0].name}",
        )


def same_name(folder: Folder) -> Iterator[Finding]:
    """Each network's name is its own."""
    seen: dict[str, Conflist] = {}
    for conflist in folder.conflists:
        first = seen.setdefault(conflist.name, conflist)
        if first is not conflist and conflist.name:
            yield error(
                str(conflist.path),
                f"network {conflist.name} is defined in {first.path.name} already",
                cause="the runtime takes one of them; addresses of both are counted together",
                cure="rename one network, or remove one file",
            )


def same_ovs_bridge(folder: Folder) -> Iterator[Finding]:
    """Each network has an OVS bridge of its own."""
    for first, second in folder.pairs():
        bridge = first.options.ovs_bridge
        if first.options.ovsdb != second.options.ovsdb or bridge != second.options.ovs_bridge:
            continue
        if first.options.vni != second.options.vni:
            yield error(
                second.where,
                f"its OVS bridge {bridge} is that of network {first.name}, with another vni"
                f" ({second.options.vni or 'none'} and {first.options.vni or 'none'})",
                cause="networks on one OVS bridge are one network, so the plugin refuses it",
                cure="set another ovs.ovsBridge, and another bridge in `bridge`'s entry",
            )
        else:
            yield warning(
                second.where,
                f"it shares OVS bridge {bridge} with network {first.name}",
                cause="the pods of both are in one layer-2 segment",
                cure="set another ovs.ovsBridge and another ovs.vni, unless that is meant",
            )


def same_linux_bridge(folder: Folder) -> Iterator[Finding]:
    """Networks that are to be apart do not meet on a Linux bridge."""
    for first, second in folder.pairs():
        if first.linux_bridge != second.linux_bridge:
            continue
        if first.options.ovs_bridge != second.options.ovs_bridge:
            yield error(
                second.where,
                f"its Linux bridge {first.linux_bridge} is that of network {first.name}, but the"
                f" OVS bridges differ ({second.options.ovs_bridge} and"
                f" {first.options.ovs_bridge})",
                cause="the Linux bridge joins both overlays, and closes a loop between nodes that"
                " have both",
                cure="give each network its own `bridge` in the bridge plugin's entry",
            )


def same_tunnel(folder: Folder) -> Iterator[Finding]:
    """No two networks want the same tunnel on two OVS bridges."""
    for first, second in folder.pairs():
        if first.options.ovs_bridge == second.options.ovs_bridge:
            continue
        shared = _tunnels(first) & _tunnels(second)
        if shared:
            remote, key, port = min(shared)
            yield error(
                second.where,
                f"network {first.name} has a tunnel to {remote} with key {key} on UDP port {port}"
                " already",
                cause="Open vSwitch tells tunnels apart by address, key and port, and allows each"
                " once on a node",
                cure="give each network an ovs.vni of its own",
            )


def _tunnels(network: Network) -> set[tuple[str, str, str]]:
    spec = desired.overlay_spec(network.options, network=network.name, maker="")
    return {identity(tunnel.options) for tunnel in spec.tunnels}


def same_vni(folder: Folder) -> Iterator[Finding]:
    """A vni stands for one network."""
    for first, second in folder.pairs():
        vni = first.options.vni
        if vni is None or vni != second.options.vni:
            continue
        ports = [network.options.dst_port or 4789 for network in (first, second)]
        if ports[0] != ports[1]:
            yield warning(
                second.where,
                f"it has vni {vni} on UDP port {ports[1]}, network {first.name} the same vni on"
                f" port {ports[0]}",
                cause="nodes that agree on the vni but not on the port never meet",
                cure="another vni for another network; the same ovs.dstPort for the same one",
            )
        elif _written(first) != _written(second):
            yield warning(
                second.where,
                f"network {first.name} has the same vni {vni}, with other pod addresses",
                cause="on the wire both are one network",
                cure="give each network an ovs.vni of its own",
            )


def _ranges(network: Network) -> list[PodRange]:
    return parse_ranges(network.bridge_entry, "")[0]


def _written(network: Network) -> set[str]:
    return {str(pods.subnet) for pods in _ranges(network)}


def overlapping_ranges(folder: Folder) -> Iterator[Finding]:
    """No two networks of the node give the same address."""
    for first, second in folder.pairs():
        pairs = product(_ranges(first), _ranges(second))
        for one, other in (pair for pair in pairs if pair[0].overlaps(pair[1])):
            yield warning(
                second.where,
                f"its pods' range {other} overlaps {one} of network {first.name}",
                cause="host-local counts per network, and the node has one route for both",
                cure="give each network a subnet of its own",
            )


CHECKS: tuple[Check[Folder], ...] = (
    Check("readable", "every file is JSON", readable),
    Check("conflist-missing", "a conflist names linen", present),
    Check("file-mode", "the conflist belongs to root alone", file_mode),
    Check("first-file", "the runtime takes our conflist first", first_file),
    Check("same-name", "every network has a name of its own", same_name),
    Check("same-ovs-bridge", "every network has an OVS bridge of its own", same_ovs_bridge),
    Check("same-linux-bridge", "no Linux bridge joins two overlays", same_linux_bridge),
    Check("same-tunnel", "no two networks want the same tunnel", same_tunnel),
    Check("same-vni", "every vni stands for one network", same_vni),
    Check("overlapping-ranges", "no two networks give the same address", overlapping_ranges),
)
