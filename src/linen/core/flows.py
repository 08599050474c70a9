# SPDX-License-Identifier: Apache-2.0
"""The rules of topology flow: OpenFlow entries that take the place of tunnels and of flooding.

The OVS bridge has one VXLAN port for all peers. A packet from this node's pods is sent to the peer
whose range its destination lies in, also when it asks for the owner of an address (ARP, neighbour
discovery). A packet from another node is delivered if that node is known and the VNI is ours. All
else is dropped: nothing is flooded, and nothing goes from tunnel to tunnel, so there is no loop.
Broadcasts can be replicated to all peers, up to a limit.

Pure. `linen.openflow` writes rules as Open vSwitch reads them.
"""

from __future__ import annotations

from linen.core import model
from linen.light import sock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from linen.core.routes import Route

    # A field, the bits that count of it (all where there is no mask), and what they have to be.
    Part: TypeAlias = tuple[str, bytes, bytes]
    # To set a field, to send the packet to a port, or to begin again.
    Action: TypeAlias = tuple[str, bytes]

# Fields, by their names in Open vSwitch (ovs-fields(7)).
IN_PORT = "in_port"
DL_SRC = "dl_src"
DL_DST = "dl_dst"
DL_TYPE = "dl_type"
NW_PROTO = "nw_proto"
NW_DST = "nw_dst"
TP_DST = "tp_dst"
ARP_OP = "arp_op"
ARP_SPA = "arp_spa"
ARP_TPA = "arp_tpa"
IPV6_SRC = "ipv6_src"
IPV6_DST = "ipv6_dst"
ICMPV6_TYPE = "icmpv6_type"
ICMPV6_CODE = "icmpv6_code"
ND_TARGET = "nd_target"
TUN_ID = "tun_id"
TUN_SRC = "tun_src"
TUN_DST = "tun_dst"
TUN_IPV6_SRC = "tun_ipv6_src"
TUN_IPV6_DST = "tun_ipv6_dst"

MARK = "reg0"  # of a packet on its way through the rules: 0 when it comes in

OUTPUT = "output"
RESUBMIT = "resubmit"  # look for a rule once more, with the fields as they are now

LOCAL = (0xFFFFFFFE).to_bytes(4, "big")  # OpenFlow 1.3.5, 7.2.1: the bridge's own device

# Priorities: what is more special comes first, and the guard before all others, whosever they are.
GUARD, ASKER, ASK, GROUP, PEER, NOTHING = 0xFFFF, 350, 300, 200, 100, 0

_FROM_PODS: Part = (IN_PORT, LOCAL, b"")
_IPV4: Part = (DL_TYPE, b"\x08\x00", b"")
_ARP: Part = (DL_TYPE, b"\x08\x06", b"")
_IPV6: Part = (DL_TYPE, b"\x86\xdd", b"")
_UDP: Part = (NW_PROTO, b"\x11", b"")
_ICMPV6: Part = (NW_PROTO, b"\x3a", b"")
# RFC 4861, 4.3. Without the code Open vSwitch leaves ND_TARGET out of what it tells the kernel's
# datapath (lib/odp-util.c), which then does with each question what it did with the first.
_NEIGHBOUR_SOLICITATION: tuple[Part, ...] = (
    (ICMPV6_TYPE, b"\x87", b""),
    (ICMPV6_CODE, b"\0", b""),
)
_LINK_LOCAL: Part = (IPV6_SRC, b"\xfe\x80" + bytes(14), b"\xff\xc0" + bytes(14))  # fe80::/10
_ARP_REQUEST: Part = (ARP_OP, b"\0\x01", b"")
_FRESH: Part = (MARK, bytes(4), b"")
_SEEN: Action = (MARK, b"\0\0\0\x01")
_AGAIN: Action = (RESUBMIT, b"")
_GROUP_BIT = b"\x01\0\0\0\0\0"
_TO_GROUP: Part = (DL_DST, _GROUP_BIT, _GROUP_BIT)


class Rule(model.Value):
    """An OpenFlow entry: what becomes of the packets that it matches.

    Where several match, that of the highest `priority` counts. Without `actions` they are dropped.
    """

    __slots__ = ("actions", "match", "priority")

    def __init__(
        self, priority: int, match: Sequence[Part], actions: Sequence[Action] = ()
    ) -> None:
        self.priority = priority
        self.match = tuple(match)
        self.actions = tuple(actions)

    def __hash__(self) -> int:  # type: ignore[override]  # unlike other values: never changed
        return hash((self.priority, self.match, self.actions))


class Outlet(model.Value):
    """Where packets leave for the other nodes.

    `port`: OpenFlow's number of the VXLAN port. `vni`: 0 for a network without one.
    `dst_port`: the UDP port of VXLAN.
    """

    __slots__ = ("dst_port", "port", "vni")

    def __init__(self, port: int, vni: int, dst_port: int = model.VXLAN_PORT) -> None:
        self.port = port
        self.vni = vni
        self.dst_port = dst_port

    def __hash__(self) -> int:  # type: ignore[override]  # unlike other values: never changed
        return hash((self.port, self.vni, self.dst_port))


def common_rules(outlet: Outlet) -> list[Rule]:
    """The rules that do not depend on the peers."""
    return [*guard_rules((outlet.dst_port,)), Rule(NOTHING, ())]


def guard_rules(udp_ports: Iterable[int]) -> list[Rule]:
    """A pod may not send VXLAN itself, or the node that receives it would take it for ours.

    In every topology: these also go before what a learning switch does.
    """
    return [
        Rule(GUARD, (_FROM_PODS, version, _UDP, (TP_DST, port.to_bytes(2, "big"), b"")))
        for port in sorted(udp_ports)
        for version in (_IPV4, _IPV6)
    ]


def asker_rules(mac: bytes, gateways: Sequence[str], cluster_range: Sequence[str]) -> list[Rule]:
    """The rules by which this node asks for pods under an address that answers find back to.

    It asks under the address of the packet that waits for the answer, which may be on another
    device (ARP), or under a link-local one where it routes for others (neighbour discovery). No
    rule of other nodes leads there, but one leads to its gateway, which is on the same device.
    `mac`: of that device, the Linux bridge; pods ask under their own addresses.
    `gateways`: its addresses. `cluster_range`: all pods' addresses.
    """
    by_node = (_FROM_PODS, (DL_SRC, mac, b""))
    rules = []
    for gateway in gateways:
        own = sock.ip_bytes(gateway)
        if ":" not in gateway:
            match = (*by_node, _ARP, _ARP_REQUEST, _FRESH)
            rules.append(Rule(ASKER, match, (_SEEN, (ARP_SPA, own), _AGAIN)))
            continue
        asks = (*by_node, _IPV6, _ICMPV6, *_NEIGHBOUR_SOLICITATION, _LINK_LOCAL)
        rules += [
            Rule(ASKER, (*asks, *_within(ND_TARGET, cidr)), ((IPV6_SRC, own), _AGAIN))
            for cidr in cluster_range
            if ":" in cidr
        ]
    return rules


def broadcast_rule(outlet: Outlet, peers: Sequence[Route]) -> Rule:
    """The rule for packets to many: to each of `peers`, so without any they are dropped.

    Their VTEPs are of one IP version, as `cluster.neighbours` sees to: an action that set the
    address of one would leave that of the other in place.
    """
    actions = [_vni(outlet)] if peers else []
    for route in peers:
        actions += [_destination(route.vtep), _output(outlet)]
    return Rule(GROUP, (_FROM_PODS, _TO_GROUP), actions)


def peer_rules(outlet: Outlet, route: Route) -> list[Rule]:
    """The rules that lead to one peer's pods, and the one that lets its packets in.

    Packets may come in by any tunnel: by the one to all nodes, or by one that a mesh has left.
    """
    source = TUN_IPV6_SRC if ":" in route.vtep else TUN_SRC
    sent_by_it = (source, sock.ip_bytes(route.vtep), b"")
    ours = (TUN_ID, outlet.vni.to_bytes(8, "big"), b"")
    to_it = (_destination(route.vtep), _vni(outlet), _output(outlet))
    rules = [Rule(PEER, (ours, sent_by_it), ((OUTPUT, LOCAL),))]
    for cidr in route.ranges:
        rules += _range_rules(cidr, to_it)
    return rules


def _range_rules(cidr: str, actions: Sequence[Action]) -> list[Rule]:
    if ":" in cidr:
        asks = (_FROM_PODS, _IPV6, _ICMPV6, *_NEIGHBOUR_SOLICITATION, *_within(ND_TARGET, cidr))
        return [
            Rule(PEER, (_FROM_PODS, _IPV6, *_within(IPV6_DST, cidr)), actions),
            Rule(ASK, asks, actions),
        ]
    return [
        Rule(PEER, (_FROM_PODS, _IPV4, *_within(NW_DST, cidr)), actions),
        Rule(ASK, (_FROM_PODS, _ARP, *_within(ARP_TPA, cidr)), actions),
    ]


def _within(field: str, cidr: str) -> tuple[Part, ...]:
    """That the address in `field` is in the range; written as Open vSwitch writes it.

    That has no mask where all bits count, and no field where none does.
    """
    address, _, bits = cidr.partition("/")
    data = sock.ip_bytes(address)
    size = len(data) * 8
    if bits == "0":
        return ()
    mask = ((1 << size) - (1 << size - int(bits))).to_bytes(len(data), "big")
    return ((field, data, b"" if int(bits) == size else mask),)


def _destination(vtep: str) -> Action:
    return (TUN_IPV6_DST if ":" in vtep else TUN_DST), sock.ip_bytes(vtep)


def _vni(outlet: Outlet) -> Action:
    return TUN_ID, outlet.vni.to_bytes(8, "big")


def _output(outlet: Outlet) -> Action:
    return OUTPUT, outlet.port.to_bytes(4, "big")
