# SPDX-License-Identifier: Apache-2.0
"""Networks of three nodes, between two of which traffic is measured; some that are not Linen's.

VXLAN of the kernel as flannel sets it up, and the nodes' own network. `throughput_overlays` has
those of Open vSwitch. All pods are attached by `bridge` with the same MTU.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from linen.lab import links
from linen.lab.cluster import Lab
from linen.lab.description import LINUX_BRIDGE, POD_NETWORK, describe
from linen.lab.switch import UNDERLAY_BRIDGE
from support.host import wait_until
from support.labs import fresh_name
from support.overlays import SWITCH_PIDFILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.description import Conflist
    from linen.lab.node import Node

KERNEL_VXLAN = "kernel VXLAN"
HOST, HOST_BY_OVS = "the nodes' own", "the nodes' own, by Open vSwitch"

NETWORK = "throughput"
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
def running_lab(*, routed: bool) -> Iterator[Lab]:
    """Three nodes, whose conflist has `bridge` alone; each node has one processor.

    Where the scheduler may move Open vSwitch and the ends of the traffic between processors, that
    decides how fast a network is, and stays as it is for seconds.
    `routed`: each node's pods have a subnet of their own, as the kernel's VXLAN wants it.
    """
    conflists = tuple(_conflist(index, routed=routed) for index in (1, 2, 3))
    with Lab.started(describe(nodes=3, name=fresh_name(), conflists=conflists)) as lab:
        for node in lab.nodes.values():
            switch = node.run(["cat", SWITCH_PIDFILE]).stdout.strip()
            node.run(["taskset", "--all-tasks", "--cpu-list", "--pid", processor(node), switch])
        yield lab


def processor(node: Node) -> str:
    """The number of the processor that the node has."""
    usable = sorted(os.sched_getaffinity(0))
    return str(usable[node.description.index % len(usable)])


def networks_of_kernel(lab: Lab) -> list[Network]:
    """VXLAN on the nodes of a routed lab, where it is made, and what these have themselves."""
    _make_kernel_vxlan(lab)
    found = [
        Network(KERNEL_VXLAN, lab, *add_pods(lab), userspace=False),
        Network(HOST, lab, *_nodes_themselves(lab), userspace=False),
    ]
    for network in found:
        require_full_size(network)
    return found


def networks_of_ovs(lab: Lab) -> list[Network]:
    """What nodes have themselves whose address is on a bridge of Open vSwitch."""
    if not is_userspace(lab):
        return []
    found = Network(HOST_BY_OVS, lab, *_nodes_themselves(lab), userspace=True)
    require_full_size(found)
    return [found]


def _conflist(index: int, *, routed: bool) -> Conflist:
    part = POD_NETWORK.network_address + 256 * index
    ipam = {"type": "host-local", "subnet": f"{part}/24"}
    if not routed:
        ipam |= {"subnet": str(POD_NETWORK), "gateway": str(part + 1)}
        ipam |= {"rangeStart": str(part + 2), "rangeEnd": str(part + 254)}
    bridge = {
        "type": "bridge",
        "bridge": LINUX_BRIDGE,
        "isDefaultGateway": True,
        "ipMasq": not routed,  # it would hide pods from other subnets' pods
        "hairpinMode": True,
        "mtu": POD_MTU,
        "ipam": ipam,
    }
    return {"cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge]}


def add_pods(lab: Lab) -> tuple[End, End]:
    """Attach a pod on each node; the ends are those of node2 and node3."""
    _, client, server = [_add_pod(lab, node) for node in lab.nodes.values()]
    return client, server


def _add_pod(lab: Lab, node: Node) -> End:
    pod = f"pod{node.description.index}"
    (addition,) = lab.add_pod(node.name, pod)
    (address,) = addition.attachment.addresses()
    return End(node, address.partition("/")[0], pod)


def _nodes_themselves(lab: Lab) -> tuple[End, End]:
    _, client, server = [End(node, str(node.description.vtep.ip)) for node in lab.nodes.values()]
    return client, server


def is_userspace(lab: Lab) -> bool:
    """Whether Open vSwitch forwards packets itself, not the kernel for it."""
    return lab.description.datapath == "netdev"


def require_full_size(network: Network) -> None:
    """Wait until the largest packet passes, and be sure that a larger one does not."""
    client, server = network.client, network.server
    mtu = POD_MTU if client.pod else UNDERLAY_MTU

    def passes(size: int) -> bool:
        argv = ["ping", "-c1", "-W1", "-Mdo", "-s", str(size - 28), server.address]
        return client.node.run(argv, pod=client.pod, check=False).returncode == 0

    wait_until(lambda: passes(mtu), f"{network.label} to pass {mtu} bytes", PATIENCE)
    if passes(mtu + 1):
        raise RuntimeError(f"{network.label} passes more than {mtu} bytes at once")


def _make_kernel_vxlan(lab: Lab) -> None:
    """What flannel does: a device that learns nothing, and three entries for each other node.

    See pkg/backend/vxlan and pkg/trafficmngr/iptables of flannel.
    """
    for node in lab.nodes.values():
        own, vtep = node.description.index, node.description.vtep
        if is_userspace(lab):
            _free_uplink(node)
        device = f"dev {links.UPLINK} local {vtep.ip} dstport {FLANNEL_PORT} nolearning"
        commands = [
            f"ip link add {FLANNEL} address {_mac(own)} type vxlan id {VNI} {device}",
            f"ip address add {_subnet(node)}/32 dev {FLANNEL}",
            f"ip link set {FLANNEL} mtu {POD_MTU} up",
            f"iptables -t nat -A POSTROUTING -s {POD_NETWORK} -d {POD_NETWORK} -j RETURN",
            f"iptables -t nat -A POSTROUTING -s {POD_NETWORK} -j MASQUERADE",
        ]
        for peer in others(lab, node):
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


def others(lab: Lab, node: Node) -> list[Node]:
    """All nodes but one."""
    return [other for other in lab.nodes.values() if other is not node]


def _subnet(node: Node) -> str:
    return str(POD_NETWORK.network_address + 256 * node.description.index)


def _mac(index: int) -> str:
    return f"02:f1:a0:00:00:{index:02x}"
