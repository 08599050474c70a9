# SPDX-License-Identifier: Apache-2.0
"""What a lab is: its nodes, their addresses, the shape of the overlay. Pure; no I/O.

Node i (from 1) has the VTEP address 10.245.2.(i+1), owns the pod range 10.244.i.0/24 and is the
gateway 10.244.i.1 of its pods; node1 is the master of a star.
These are the addresses of the example conflists, so the examples fit the first three nodes.
Over IPv6 it has the VTEP address fd00:10:245::(i+1), the pod range fd00:10:244:i::/64 and the
gateway fd00:10:244:i::1, each number in hexadecimal.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import Any, Literal, TypeAlias, cast

from linen.lab.errors import LabError

Topology = Literal["star", "mesh"]
Datapath = Literal["netdev", "system", "auto"]
PodFamily = Literal["ipv4", "ipv6", "dual"]
VtepFamily = Literal["ipv4", "ipv6"]
Conflist = dict[str, Any]
Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

TOPOLOGIES: tuple[Topology, ...] = ("star", "mesh")
DATAPATHS: tuple[Datapath, ...] = ("netdev", "system", "auto")
POD_FAMILIES: dict[PodFamily, tuple[int, ...]] = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
VTEP_FAMILIES: tuple[VtepFamily, ...] = ("ipv4", "ipv6")

POD_NETWORK = IPv4Network("10.244.0.0/16")
POD_NETWORK_IPV6 = IPv6Network("fd00:10:244::/48")
POD_MTU = 1400
LINUX_BRIDGE = "kbr0"
OVS_BRIDGE = "br0"
NETWORK_NAME = "linen-network"

# One of these parts of the pod network for each node, by IP version.
_NODE_PREFIXES = {4: 24, 6: 64}
MAX_NODES = 255
# Beyond this many nodes the VTEP addresses leave 10.245.2.0/24.
_NARROW_UNDERLAY_NODES = 250
_FIRST_VTEP = IPv4Address("10.245.2.2")
_FIRST_VTEP_IPV6 = IPv6Address("fd00:10:245::2")
# It names a folder and, in `NODE/POD`, must not be mistaken for a path.
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


@dataclass(frozen=True)
class PodRange:
    """A node's part of the pod network `whole`."""

    whole: Network
    part: Network

    @property
    def gateway(self) -> Address:
        """The address of the node's Linux bridge."""
        return self.part.network_address + 1

    @property
    def first(self) -> Address:
        """The first address that is given to a pod."""
        return self.part.network_address + 10

    @property
    def last(self) -> Address:
        """The last address that is given to a pod."""
        return self.part.network_address + 250


@dataclass(frozen=True)
class NodeDescription:
    """One node; `index` counts from 1."""

    index: int
    vtep: IPv4Interface | IPv6Interface

    @property
    def name(self) -> str:
        """The node's host name, and its fabric port's name."""
        return f"node{self.index}"

    def pod_range(self, version: int) -> PodRange:
        """The addresses of this node's pods, of IP version 4 or 6."""
        whole: Network = POD_NETWORK if version == 4 else POD_NETWORK_IPV6
        prefix = _NODE_PREFIXES[version]
        step = self.index << (whole.max_prefixlen - prefix)
        return PodRange(whole, ip_network((whole.network_address + step, prefix)))


@dataclass(frozen=True)
class LabDescription:
    """A whole lab. `conflists` has one for each node, or is empty: then they are rendered."""

    name: str
    topology: Topology
    datapath: Datapath
    nodes: tuple[NodeDescription, ...]
    conflists: tuple[Conflist, ...] = ()
    pod_family: PodFamily = "ipv4"

    def node(self, name: str) -> NodeDescription:
        """Find a node by name; LabError names those that exist."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = f"{self.nodes[0].name} to {self.nodes[-1].name}"
        raise LabError(f"lab {self.name} has no node {name!r}; its nodes are {known}")

    def pod_ranges(self, node: NodeDescription) -> list[PodRange]:
        """The addresses of a node's pods, IPv4 first."""
        return [node.pod_range(version) for version in POD_FAMILIES[self.pod_family]]

    def tunnel_ends(self, node: NodeDescription) -> list[Address]:
        """List the VTEP addresses to which `node` has tunnels."""
        master = self.nodes[0]
        others = [other for other in self.nodes if other != node]
        if self.topology == "star" and node != master:
            others = [master]
        return [other.vtep.ip for other in others]


def describe(  # noqa: PLR0913 (all but two by name, each with a default)
    nodes: int = 3,
    topology: Topology = "star",
    *,
    name: str = "lab",
    datapath: Datapath = "auto",
    conflists: tuple[Conflist, ...] = (),
    pod_family: PodFamily = "ipv4",
    vtep_family: VtepFamily = "ipv4",
) -> LabDescription:
    """Describe a lab of `nodes` nodes; LabError says which value is wrong and what is allowed.

    `pod_family`: which addresses pods have. `vtep_family`: which addresses the nodes have.
    """
    check_name("lab", name)
    if not 1 <= nodes <= MAX_NODES:
        raise LabError(f"a lab has 1 to {MAX_NODES} nodes, not {nodes}")
    if conflists and len(conflists) < nodes:
        raise LabError(f"{nodes} nodes need {nodes} conflists, there are {len(conflists)}")
    if conflists and pod_family != "ipv4":
        raise LabError(
            f"pod family {pod_family}: which addresses pods have is in the conflists that are given"
        )
    return LabDescription(
        name=name,
        topology=topology,
        datapath=datapath,
        nodes=tuple(
            NodeDescription(index, _vtep(index, nodes, vtep_family))
            for index in range(1, nodes + 1)
        ),
        conflists=conflists[:nodes],
        pod_family=pod_family,
    )


def _vtep(index: int, nodes: int, family: VtepFamily) -> IPv4Interface | IPv6Interface:
    if family == "ipv6":
        return IPv6Interface((_FIRST_VTEP_IPV6 + index - 1, 64))
    prefix = 24 if nodes <= _NARROW_UNDERLAY_NODES else 16
    return IPv4Interface((_FIRST_VTEP + index - 1, prefix))


def check_name(what: str, name: str) -> None:
    """Raise LabError unless `name` can name a lab or a pod."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{what} name {name!r}: use 1 to 40 lower-case letters, digits, dots and dashes, "
            "with a letter or digit first"
        )


def render_description(description: LabDescription) -> dict[str, Any]:
    """Turn a description into JSON values."""
    rendered = asdict(description)
    rendered["nodes"] = [
        {"index": node.index, "vtep": str(node.vtep)} for node in description.nodes
    ]
    return rendered


def parse_description(values: dict[str, Any]) -> LabDescription:
    """Turn what `render_description` made, also an earlier one, back into a description."""
    return LabDescription(
        name=values["name"],
        topology=cast("Topology", values["topology"]),
        datapath=cast("Datapath", values["datapath"]),
        nodes=tuple(
            NodeDescription(node["index"], ip_interface(node["vtep"])) for node in values["nodes"]
        ),
        conflists=tuple(values["conflists"]),
        pod_family=cast("PodFamily", values.get("pod_family", "ipv4")),
    )
