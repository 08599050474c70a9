# SPDX-License-Identifier: Apache-2.0
"""Overlays of Open vSwitch to compare: tunnels between the same pods, laid in turn.

Linen's star, mesh and flow, kept by its daemon; the star and the mesh once more, laid by hand.

Two overlays of the very same making differ by up to a quarter, if each has bridges of its own. So
all are laid between the same bridges, which are Linen's and made anew for each round.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench.throughput_networks import (
    NETWORK,
    VNI,
    Network,
    add_pods,
    is_userspace,
    others,
    require_full_size,
)
from linen.lab.conflists import conflist_of, render_json, with_datapath
from linen.lab.description import LINUX_BRIDGE, OVS_BRIDGE
from linen.netlink.nftables import TABLE_PREFIX
from support.overlays import CONFLIST, Overlay, file_of_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from linen.lab.cluster import Lab
    from linen.lab.description import Conflist
    from linen.lab.node import Node

STAR, MESH, FLOW = "Linen, star", "Linen, mesh", "Linen, flow"
STAR_BY_HAND, MESH_BY_HAND = "star by hand", "mesh by hand"
_TOPOLOGIES = {STAR: "star", MESH: "mesh", FLOW: "flow"}
_LABELS = (*_TOPOLOGIES, STAR_BY_HAND, MESH_BY_HAND)


@contextmanager
def running_overlays(
    lab: Lab, folder: Path
) -> Iterator[dict[str, Callable[[], AbstractContextManager[Network]]]]:
    """Bridges and pods; and by label, how to have tunnels between them for as long as a block.

    `folder`: for the daemons' file of nodes.
    """
    overlay = Overlay(lab, folder / "nodes.json")
    overlay.peers.write_text(json.dumps(file_of_nodes(lab.description)))
    ends = add_pods(lab)
    try:
        with _kept_by_linen(overlay, STAR):
            pass  # it has made its bridges
        yield {
            label: partial(_laid, overlay, Network(label, lab, *ends, userspace=is_userspace(lab)))
            for label in _LABELS
        }
    finally:
        for pod in lab.pods():
            lab.del_pod(pod.name)
        for node in lab.nodes.values():
            node.run(["ovs-vsctl", "--if-exists", "del-br", OVS_BRIDGE])
            node.run(["ip", "link", "delete", LINUX_BRIDGE])


@contextmanager
def _laid(overlay: Overlay, network: Network) -> Iterator[Network]:
    """A network, once packets of its full size pass."""
    by_linen = network.label in _TOPOLOGIES
    with (_kept_by_linen if by_linen else _laid_by_hand)(overlay, network.label):
        require_full_size(network)
        yield network


@contextmanager
def _kept_by_linen(overlay: Overlay, label: str) -> Iterator[None]:
    """All that the daemon does; at the end nothing is left but its bridges."""
    nodes = overlay.lab.nodes.values()
    try:
        for node in nodes:
            options = {"topology": _TOPOLOGIES[label], "vni": VNI}
            options |= {"isMaster": node.description.index == 1}
            _write_conflist(overlay.lab, node, {"type": "linen", "ovs": options})
            overlay.start_flaxd(node)
        yield
    finally:
        for node in nodes:
            if node.name in overlay.daemons:
                overlay.stop_flaxd(node)
            _write_conflist(overlay.lab, node)
            _remove_tunnels(node)


def _write_conflist(lab: Lab, node: Node, *plugins: Conflist) -> None:
    """The conflist of a lab's node, with these plugins behind `bridge`."""
    plain = conflist_of(lab.description, node.description, "1.0.0")
    conflist = plain | {"plugins": [*plain["plugins"], *plugins]}
    node.write_file(CONFLIST, render_json(with_datapath(conflist, lab.description.datapath)))


@contextmanager
def _laid_by_hand(overlay: Overlay, label: str) -> Iterator[None]:
    """What Linen makes, with the standard tools, as an administrator would."""
    nodes = overlay.lab.nodes.values()
    try:
        for node in nodes:
            peers = [
                peer
                for peer in others(overlay.lab, node)
                if label == MESH_BY_HAND or "node1" in (node.name, peer.name)
            ]
            node.run(_tunnels_by_hand(peers, is_mesh=label == MESH_BY_HAND))
        yield
    finally:
        for node in nodes:
            _remove_tunnels(node)


def _tunnels_by_hand(peers: list[Node], *, is_mesh: bool) -> list[str]:
    """A command that makes a tunnel to each peer."""
    command = "ovs-vsctl"
    for peer in peers:
        port = f"vx{peer.description.index}"
        command += f" -- add-port {OVS_BRIDGE} {port} -- set interface {port} type=vxlan"
        command += f" options:remote_ip={peer.description.vtep.ip} options:key={VNI}"
        if is_mesh:  # without this a broadcast would go round for ever
            command += f" -- set port {port} protected=true"
    return command.split()


def _remove_tunnels(node: Node) -> None:
    """Leave a bridge that forwards by what it learns, as a new one does."""
    found = ["ovs-vsctl", "--bare", "--columns=name", "find", "interface", "type=vxlan"]
    for port in node.run(found).stdout.split():
        node.run(["ovs-vsctl", "del-port", OVS_BRIDGE, port])
    node.run(["ovs-ofctl", "del-flows", OVS_BRIDGE])
    node.run(["ovs-ofctl", "add-flow", OVS_BRIDGE, "priority=0,actions=NORMAL"])
    for table in node.run(["nft", "list", "tables"]).stdout.splitlines():
        if table.endswith(f" {TABLE_PREFIX}{NETWORK}"):  # "table FAMILY NAME"
            node.run(["nft", "delete", *table.split()])
