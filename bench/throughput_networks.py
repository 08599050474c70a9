# SPDX-License-Identifier: Apache-2.0
"""Networks to compare: a lab of three nodes for each, cabled alike, with a pod on each node.

Linen's star, mesh and flow, kept by its daemon; the star and the mesh once more, made by hand with
ovs-vsctl; VXLAN of the kernel as flannel sets it up; and the nodes' own network. All pods are
attached by `bridge` with the same MTU; what Linen does is all that differs from one made by hand.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.results import shuffled
from linen.lab import links
from linen.lab.cluster import Lab
from linen.lab.description import LINUX_BRIDGE, OVS_BRIDGE, POD_NETWORK, describe
from linen.lab.switch import UNDERLAY_BRIDGE
from support.host import wait_until
from support.labs import fresh_name
from support.overlays import Overlay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.description import Conflist
    from linen.lab.node import Node

STAR, MESH, FLOW = "Linen, star", "Linen, mesh", "Linen, flow"
STAR_BY_HAND, MESH_BY_HAND = "star by hand", "mesh by hand"
KERNEL_VXLAN = "kernel VXLAN"
HOST, HOST_BY_OVS = "the nodes' own", "the nodes' own, by Open vSwitch"
_TOPOLOGIES = {STAR: "star", MESH: "mesh", FLOW: "flow"}
_LABS = (STAR, MESH, FLOW, STAR_BY_HAND, MESH_BY_HAND, KERNEL_VXLAN)

VNI = 7
UNDERLAY_MTU = 1500
POD_MTU = UNDERLAY_MTU - 50  # VXLAN's share over IPv4
PATIENCE = 30  # seconds
FLANNEL = "flannel.1"
FLANNEL_PORT = 8472  # the kernel's default


class End(NamedTuple):
    """One end of what is measured: a pod of a node, or without `pod` the node itself."""

    node: Node
    address: str
    pod: str | None = None


class Network(NamedTuple):
    """A network, and the two ends between which it is measured, on node2 and node3.

    `userspace`: its packets pass through ovs-vswitchd, not through the kernel alone.
    """

    label: str
    lab: Lab
    client: End
    server: End
    userspace: bool


@contextmanager
def running_networks(folder: Path) -> Iterator[list[Network]]:
    """All networks, once each passes packets of its full size. `folder`: for daemons' files."""
    with ExitStack() as stack:
        networks: list[Network] = []
        for label in shuffled(_LABS):
            lab = stack.enter_context(_running_lab(label))
            networks += _make(label, lab, folder)
        for network in networks:
            _require_full_size(network)
        yield networks


def _running_lab(label: str) -> AbstractContextManager[Lab]:
    conflists = tuple(_conflist(label, index) for index in (1, 2, 3))
    return Lab.started(describe(nodes=3, name=fresh_name(), conflists=conflists))


def _conflist(label: str, index: int) -> Conflist:
    """A node's conflist. The kernel's VXLAN is routed: there each node has a subnet of its own."""
    part = POD_NETWORK.network_address + 256 * index
    ipam = {"type": "host-local", "subnet": f"{part}/24"}
    if label != KERNEL_VXLAN:
        ipam |= {"subnet": str(POD_NETWORK), "gateway": str(part + 1)}
        ipam |= {"rangeStart": str(part + 2), "rangeEnd": str(part + 254)}
    bridge = {
        "type": "bridge",
        "bridge": LINUX_BRIDGE,
        "isDefaultGateway": True,
        "ipMasq": label != KERNEL_VXLAN,  # it would hide pods from other subnets' pods
        "hairpinMode": True,
        "mtu": POD_MTU,
        "ipam": ipam,
    }
    plugins: list[Conflist] = [bridge]
    if label in _TOPOLOGIES:
        overlay = {"topology": _TOPOLOGIES[label], "vni": VNI, "isMaster": index == 1}
        plugins.append({"type": "linen", "ovs": overlay})
    return {"cniVersion": "1.0.0", "name": "throughput", "plugins": plugins}


def _make(label: str, lab: Lab, folder: Path) -> list[Network]:
    """Make the lab's network, attach a pod on each node, and say what there is to measure."""
    if label in _TOPOLOGIES:
        _start_daemons(lab, folder / f"{lab.description.name}.json")
    _, client, server = [_add_pod(lab, node) for node in lab.nodes.values()]
    _, node2, node3 = [End(node, str(node.description.vtep.ip)) for node in lab.nodes.values()]
    userspace = lab.description.datapath == "netdev"
    if label == KERNEL_VXLAN:
        _make_kernel_vxlan(lab)
        return [
            Network(label, lab, client, server, userspace=False),
            Network(HOST, lab, node2, node3, userspace=False),
        ]
    found = [Network(label, lab, client, server, userspace)]
    if label in (STAR_BY_HAND, MESH_BY_HAND):
        _make_by_hand(lab, label)
    if label == MESH_BY_HAND and userspace:
        found.append(Network(HOST_BY_OVS, lab, node2, node3, userspace))
    return found


def _add_pod(lab: Lab, node: Node) -> End:
    pod = f"pod{node.description.index}"
    (addition,) = lab.add_pod(node.name, pod)
    (address,) = addition.attachment.addresses()
    return End(node, address.partition("/")[0], pod)


def _require_full_size(network: Network) -> None:
    """Wait until the largest packet passes, and be sure that a larger one does not."""
    client, server = network.client, network.server
    mtu = POD_MTU if client.pod else UNDERLAY_MTU

    def passes(size: int) -> bool:
        argv = ["ping", "-c1", "-W1", "-Mdo", "-s", str(size - 28), server.address]
        return client.node.run(argv, pod=client.pod, check=False).returncode == 0

    wait_until(lambda: passes(mtu), f"{network.label} to pass {mtu} bytes", PATIENCE)
    if passes(mtu + 1):
        raise RuntimeError(f"{network.label} passes more than {mtu} bytes at once")


def _start_daemons(lab: Lab, peers: Path) -> None:
    """Let Linen's daemon keep the overlay that the conflist asks for, on each node."""
    records = [
        {
            "name": node.name,
            "vtep": str(node.description.vtep.ip),
            "ranges": [f"{_subnet(node)}/24"],
            "master": node.description.index == 1,
        }
        for node in lab.nodes.values()
    ]
    peers.write_text(json.dumps({"clusterRange": str(POD_NETWORK), "nodes": records}))
    overlay = Overlay(lab, peers)
    for node in lab.nodes.values():
        overlay.start_flaxd(node)


def _make_by_hand(lab: Lab, label: str) -> None:
    """What Linen makes, with the standard tools, as an administrator would."""
    for node in lab.nodes.values():
        command = f"ovs-vsctl add-br {OVS_BRIDGE} -- set bridge {OVS_BRIDGE}"
        command += f" datapath_type={lab.description.datapath}"
        for peer in _others(lab, node):
            if label == STAR_BY_HAND and "node1" not in (node.name, peer.name):
                continue
            port = f"vx{peer.description.index}"
            command += f" -- add-port {OVS_BRIDGE} {port} -- set interface {port} type=vxlan"
            command += f" options:remote_ip={peer.description.vtep.ip} options:key={VNI}"
            if label == MESH_BY_HAND:  # without this a broadcast would go round for ever
                command += f" -- set port {port} protected=true"
        node.run(command.split())
        node.run(f"ip link set {OVS_BRIDGE} mtu {POD_MTU} master {LINUX_BRIDGE} up".split())


def _make_kernel_vxlan(lab: Lab) -> None:
    """What flannel does: a device that learns nothing, and three entries for each other node.

    See pkg/backend/vxlan and pkg/trafficmngr/iptables of flannel.
    """
    for node in lab.nodes.values():
        own, vtep = node.description.index, node.description.vtep
        if lab.description.datapath == "netdev":
            _free_uplink(node)
        device = f"dev {links.UPLINK} local {vtep.ip} dstport {FLANNEL_PORT} nolearning"
        commands = [
            f"ip link add {FLANNEL} address {_mac(own)} type vxlan id {VNI} {device}",
            f"ip address add {_subnet(node)}/32 dev {FLANNEL}",
            f"ip link set {FLANNEL} mtu {POD_MTU} up",
            f"iptables -t nat -A POSTROUTING -s {POD_NETWORK} -d {POD_NETWORK} -j RETURN",
            f"iptables -t nat -A POSTROUTING -s {POD_NETWORK} -j MASQUERADE",
        ]
        for peer in _others(lab, node):
            gateway, mac = _subnet(peer), _mac(peer.description.index)
            commands += [
                f"ip neighbour add {gateway} lladdr {mac} dev {FLANNEL} nud permanent",
                f"bridge fdb append {mac} dev {FLANNEL} dst {peer.description.vtep.ip}",
                f"ip route add {gateway}/24 via {gateway} dev {FLANNEL} onlink",
            ]
        for command in commands:
            node.run(command.split())


def _free_uplink(node: Node) -> None:
    """Take the node's address from behind Open vSwitch, which has turned ARP off for the kernel."""
    node.run(["ovs-vsctl", "del-br", UNDERLAY_BRIDGE])
    node.run(f"ip link set {links.UPLINK} arp on".split())
    node.run(f"ip address add {node.description.vtep} dev {links.UPLINK}".split())


def _others(lab: Lab, node: Node) -> list[Node]:
    return [other for other in lab.nodes.values() if other is not node]


def _subnet(node: Node) -> str:
    return str(POD_NETWORK.network_address + 256 * node.description.index)


def _mac(index: int) -> str:
    return f"02:f1:a0:00:00:{index:02x}"
