# SPDX-License-Identifier: Apache-2.0
"""What a lab is: its nodes, their addresses, the shape of the overlay. Pure; no I/O.

Node i (from 1) has the VTEP address 10.245.2.(i+1), owns the pod range 10.244.i.0/24 and is the
gateway 10.244.i.1 of its pods; node1 is the master of a star.
These are the addresses of the example conflists, so the examples fit the first three nodes.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Literal, cast

from linen.lab.errors import LabError

Topology = Literal["star", "mesh"]
Datapath = Literal["netdev", "system", "auto"]
Conflist = dict[str, Any]

TOPOLOGIES: tuple[Topology, ...] = ("star", "mesh")
DATAPATHS: tuple[Datapath, ...] = ("netdev", "system", "auto")

POD_NETWORK = IPv4Network("10.244.0.0/16")
POD_MTU = 1400
LINUX_BRIDGE = "kbr0"
OVS_BRIDGE = "br0"
NETWORK_NAME = "linen-network"

# One /24 of the pod network for each node.
MAX_NODES = 255
# Beyond this many nodes the VTEP addresses leave 10.245.2.0/24.
_NARROW_UNDERLAY_NODES = 250
_FIRST_VTEP = IPv4Address("10.245.2.2")
# It names a folder and, in `NODE/POD`, must not be mistaken for a path.
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


@dataclass(frozen=True)
class NodeDescription:
    """One node; `index` counts from 1."""

    index: int
    vtep: IPv4Interface

    @property
    def name(self) -> str:
        """The node's host name, and its fabric port's name."""
        return f"node{self.index}"

    @property
    def pod_range(self) -> tuple[IPv4Address, IPv4Address]:
        """The first and last address given to this node's pods."""
        base = POD_NETWORK.network_address + 256 * self.index
        return base + 10, base + 250

    @property
    def gateway(self) -> IPv4Address:
        """The address of the node's Linux bridge in the pod network."""
        return POD_NETWORK.network_address + 256 * self.index + 1


@dataclass(frozen=True)
class LabDescription:
    """A whole lab. `conflists` has one for each node, or is empty: then they are rendered."""

    name: str
    topology: Topology
    datapath: Datapath
    nodes: tuple[NodeDescription, ...]
    conflists: tuple[Conflist, ...] = ()

    def node(self, name: str) -> NodeDescription:
        """Find a node by name; LabError names those that exist."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = f"{self.nodes[0].name} to {self.nodes[-1].name}"
        raise LabError(f"lab {self.name} has no node {name!r}; its nodes are {known}")

    def tunnel_ends(self, node: NodeDescription) -> list[IPv4Address]:
        """List the VTEP addresses to which `node` has tunnels."""
        master = self.nodes[0]
        others = [other for other in self.nodes if other != node]
        if self.topology == "star" and node != master:
            others = [master]
        return [other.vtep.ip for other in others]


def describe(
    nodes: int = 3,
    topology: Topology = "star",
    *,
    name: str = "lab",
    datapath: Datapath = "auto",
    conflists: tuple[Conflist, ...] = (),
) -> LabDescription:
    """Describe a lab of `nodes` nodes; LabError says which value is wrong and what is allowed."""
    check_name("lab", name)
    if not 1 <= nodes <= MAX_NODES:
        raise LabError(f"a lab has 1 to {MAX_NODES} nodes, not {nodes}")
    if conflists and len(conflists) < nodes:
        raise LabError(f"{nodes} nodes need {nodes} conflists, there are {len(conflists)}")
    prefix = 24 if nodes <= _NARROW_UNDERLAY_NODES else 16
    return LabDescription(
        name=name,
        topology=topology,
        datapath=datapath,
        nodes=tuple(
            NodeDescription(index, IPv4Interface(f"{_FIRST_VTEP + index - 1}/{prefix}"))
            for index in range(1, nodes + 1)
        ),
        conflists=conflists[:nodes],
    )


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
    """Turn what `render_description` made back into a description."""
    return LabDescription(
        name=values["name"],
        topology=cast("Topology", values["topology"]),
        datapath=cast("Datapath", values["datapath"]),
        nodes=tuple(
            NodeDescription(node["index"], IPv4Interface(node["vtep"])) for node in values["nodes"]
        ),
        conflists=tuple(values["conflists"]),
    )
