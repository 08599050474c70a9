# SPDX-License-Identifier: Apache-2.0
"""What Linen has nftables drop: VXLAN from pods, and packets from one network to another.

Conditions are expressions of nftables (linux/netfilter/nf_tables.h): one loads something of a
packet into a register, the next compares that.
"""

from __future__ import annotations

from _struct import pack

from linen.netlink.codec import attribute
from linen.netlink.nftables import FORWARD, INGRESS, LOCAL_IN, NESTED, POSTROUTING, Rule, number

REGISTER = 1  # NFT_REG_1
EQUAL, NOT_EQUAL = 0, 1  # NFT_CMP_EQ, NFT_CMP_NEQ
# NFT_META_IIF, NFT_META_IIFNAME, NFT_META_OIFNAME, NFT_META_L4PROTO, NFT_META_PKTTYPE
INCOMING_INDEX, INCOMING_DEVICE, OUTGOING_DEVICE, PROTOCOL, ADDRESSEE = 4, 6, 7, 16, 19
LINK_HEADER, TRANSPORT_HEADER = 0, 2  # NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER
UDP = b"\x11"
TO_THIS_HOST = b"\0"  # PACKET_HOST (linux/if_packet.h)
VLAN_TYPES = {"802.1Q": 0x8100, "802.1ad": 0x88A8}  # ETH_P_8021Q, ETH_P_8021AD
VLAN_ID = 0xFFF  # VLAN_VID_MASK
DEVICE_SIZE = 16  # IFNAMSIZ


def no_vxlan(device: str, udp_port: int, *, is_translated: bool, ipvs: bool) -> list[Rule]:
    """No UDP to this port out of the pods behind `device`, a Linux bridge.

    Neither as a pod has sent it, nor as a Service's translation has left it, which may lead to the
    port from any other. Other packets, which are nearly all, are let by for their protocol already.

    `is_translated`: all that the device hands to the host as IP has been translated by then, as
    `br_netfilter` has it. What has a VLAN tag has not; so that is dropped where the host would take
    it, which is where the tag's id is 0 (`__netif_receive_skb_core`, net/core/dev.c).

    `ipvs`: the kernel may have Services of IPVS, which translates later, what is for this node
    itself. It hands its packets on without FORWARD, as this node's own, so all come by POSTROUTING
    (`ip_vs_nat_send_or_cont`, ip_vs_xmit.c). The device that they came by is still known there
    (`ip_output` and `ip6_output`, since Linux 5.5: 28f8bfd1ac94); what this node itself sends came
    by none, or by that of a tunnel.
    """
    what = f"no VXLAN from pods ({device}, {udp_port})"
    conditions = (*_to_port(udp_port), *_device(INCOMING_DEVICE, device))
    way_out = INGRESS if is_translated else FORWARD
    places = (way_out, LOCAL_IN, POSTROUTING) if ipvs else (way_out, LOCAL_IN)
    return [Rule(place, what, conditions, device) for place in places]


def from_underlay(device: str, index: int) -> Rule:
    """Nothing more is asked about what comes to this node by a device of the underlay.

    Nearly all of it is VXLAN of other nodes, which the other rules would ask most about. The device
    is known by its index, since to compare names takes as long as all else.
    """
    what = f"from other nodes ({device})"
    conditions = ("meta", _meta(INCOMING_INDEX)), ("cmp", _compared(pack("=i", index)))
    return Rule(LOCAL_IN, f"{what}, device {index}", conditions, lets_by=True)


def no_tags(device: str) -> list[Rule]:
    """Nothing with a VLAN tag that the host would take off without looking at it.

    Its id is 0; the second tag, if there is one, is taken off likewise.
    """
    rules = []
    for name, ethertype in VLAN_TYPES.items():
        what = f"no tags from pods ({device}, {name})"
        tag = (
            ("payload", _loaded(LINK_HEADER, 12, 4)),
            ("bitwise", _masked((0xFFFF << 16 | VLAN_ID).to_bytes(4, "big"))),
            ("cmp", _compared((ethertype << 16).to_bytes(4, "big"))),
        )
        rules.append(Rule(INGRESS, what, (*tag, *_device(INCOMING_DEVICE, device)), device))
    return rules


def no_vxlan_to_groups(udp_port: int) -> Rule:
    """No UDP to this port in frames that are sent to more than this host.

    A Linux bridge leaves frames to some of these addresses to the device that they came by
    (01:80:C2:00:00:02 and on, `br_handle_frame`, net/bridge/br_input.c), so the host takes what is
    in them for something that has not come from the bridge at all. VXLAN of nodes among themselves
    is never sent so.
    """
    what = f"no VXLAN in frames to groups ({udp_port})"
    to_others = ("meta", _meta(ADDRESSEE)), ("cmp", _compared(TO_THIS_HOST, NOT_EQUAL))
    return Rule(LOCAL_IN, what, (*_to_port(udp_port), *to_others))


def no_way(source: str, target: str) -> Rule:
    """No packet that came by the device `source` is routed out by `target`, by IPVS neither."""
    what = f"no way between networks ({source}, {target})"
    conditions = (*_device(INCOMING_DEVICE, source), *_device(OUTGOING_DEVICE, target))
    return Rule(POSTROUTING, what, conditions)


def _to_port(udp_port: int) -> tuple[tuple[str, bytes], ...]:
    """That a packet is UDP to this port."""
    return (
        ("meta", _meta(PROTOCOL)),
        ("cmp", _compared(UDP)),
        ("payload", _loaded(TRANSPORT_HEADER, 2, 2)),
        ("cmp", _compared(udp_port.to_bytes(2, "big"))),
    )


def _device(which: int, name: str) -> tuple[tuple[str, bytes], ...]:
    """That the device by which a packet comes, or goes, has this name."""
    return ("meta", _meta(which)), ("cmp", _compared(name.encode().ljust(DEVICE_SIZE, b"\0")))


def _meta(key: int) -> bytes:
    return attribute(2, number(key)) + attribute(1, number(REGISTER))


def _loaded(header: int, offset: int, size: int) -> bytes:
    return _numbers(REGISTER, header, offset, size)


def _masked(mask: bytes) -> bytes:
    told = _numbers(REGISTER, REGISTER, len(mask))
    return told + _value(4, mask) + _value(5, bytes(len(mask)))


def _compared(value: bytes, how: int = EQUAL) -> bytes:
    return _numbers(REGISTER, how) + _value(3, value)


def _numbers(*values: int) -> bytes:
    """The first attributes of an expression, where they are numbers."""
    return b"".join(attribute(kind, number(value)) for kind, value in enumerate(values, 1))


def _value(kind: int, value: bytes) -> bytes:
    """An attribute for what is compared, or changed, in a register (NFTA_DATA_VALUE)."""
    return attribute(kind | NESTED, attribute(1, value))
