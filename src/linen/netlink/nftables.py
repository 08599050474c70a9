# SPDX-License-Identifier: Apache-2.0
"""One table of nftables, which drops VXLAN from pods and packets from one network to another.

That is all that Linen needs of a firewall, so the messages are made here (linux/netfilter/
nf_tables.h and nfnetlink.h): no program or library has to be there. Numbers inside nftables' own
attributes are big-endian.
"""

from __future__ import annotations

import errno
from _struct import pack

from linen.light import sock
from linen.netlink import codec
from linen.netlink.blocking import whole_dump
from linen.netlink.codec import attribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE_PREFIX = "linen-"  # of our tables

NETFILTER = 12  # NETLINK_NETFILTER
DATAGRAM = 1 << 16  # bytes
NESTED = 0x8000  # NLA_F_NESTED
CREATE, APPEND = 0x400, 0x800  # NLM_F_CREATE, NLM_F_APPEND
INET, SUBSYSTEM = 1, 10  # NFPROTO_INET, NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 16, 17
NEW_TABLE, GET_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE, GET_RULE = 0, 1, 2, 3, 6, 7
# NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN, NF_INET_POST_ROUTING
PREROUTING, LOCAL_IN, POSTROUTING = 0, 1, 4
# Behind all that translates addresses: kube-proxy's rules are at -100 in PREROUTING, IPVS is at 99
# in LOCAL_IN (NF_IP_PRI_NAT_DST; net/netfilter/ipvs/ip_vs_core.c).
AFTER_ALL = 300
CHAINS = {PREROUTING: "from-pods", LOCAL_IN: "to-this-node", POSTROUTING: "out-of-this-node"}
# Attributes: of a table, of a chain, of a rule, of an expression.
NAME = TABLE = 1
CHAIN_NAME, HOOK, CHAIN_TYPE = 3, 4, 7
OF_CHAIN, EXPRESSIONS, COMMENT = 2, 4, 7
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
REGISTER = 1  # NFT_REG_1
# NFT_META_IIFNAME, NFT_META_OIFNAME, NFT_META_L4PROTO
INCOMING_DEVICE, OUTGOING_DEVICE, PROTOCOL = 6, 7, 16
TRANSPORT_HEADER = 2  # NFT_PAYLOAD_TRANSPORT_HEADER
UDP = b"\x11"
NO_SUBSYSTEM = (errno.EINVAL, errno.EOPNOTSUPP)
DEVICE_SIZE = 16  # IFNAMSIZ


class Rule:
    """Packets to be dropped: at a place on their way, those for which all of `conditions` hold.

    `what`: in words, which `nft list ruleset` shows beside the rule, and which it is known by.
    """

    __slots__ = ("_conditions", "mark", "place")

    def __init__(self, place: int, what: str, conditions: Sequence[tuple[str, bytes]]) -> None:
        text = _text(f"Linen: {what}")
        self.mark = bytes((0, len(text))) + text  # NFTNL_UDATA_RULE_COMMENT
        self.place = place
        self._conditions = conditions

    def attributes(self) -> bytes:
        """What the kernel is told of it, but for the table."""
        verdict = attribute(2 | NESTED, attribute(1, _number(0)))  # NF_DROP
        drop = attribute(1, _number(0)) + attribute(2 | NESTED, verdict)
        expressions = b"".join(
            attribute(
                1 | NESTED,  # NFTA_LIST_ELEM
                attribute(EXPRESSION_NAME, _text(name)) + attribute(EXPRESSION_DATA | NESTED, data),
            )
            for name, data in (*self._conditions, ("immediate", drop))
        )
        told = attribute(OF_CHAIN, _text(CHAINS[self.place]))
        return told + attribute(EXPRESSIONS | NESTED, expressions) + attribute(COMMENT, self.mark)


def no_vxlan(device: str, udp_port: int, *, ipvs: bool) -> list[Rule]:
    """No UDP to this port out of the pods behind `device`.

    Neither as a pod has sent it, nor as a Service's translation has left it, which may lead to the
    port from any other. Other packets, which are nearly all, are let by for their protocol already.

    `ipvs`: the kernel may have Services of IPVS, which translates later, what is for this node
    itself. It hands its packets on without FORWARD, as this node's own, so all come by POSTROUTING
    (`ip_vs_nat_send_or_cont`, ip_vs_xmit.c). The device that they came by is still known there
    (`ip_output` and `ip6_output`, since Linux 5.5: 28f8bfd1ac94); what this node itself sends came
    by none, or by that of a tunnel.
    """
    what = f"no VXLAN from pods ({device}, {udp_port})"
    port = (TRANSPORT_HEADER, 2, 2)  # base, offset and length of the destination port
    loaded = b"".join(
        attribute(kind, _number(value)) for kind, value in zip((2, 3, 4), port, strict=True)
    )
    conditions = (
        ("meta", _meta(PROTOCOL)),
        ("cmp", _equal(UDP)),
        ("payload", attribute(1, _number(REGISTER)) + loaded),
        ("cmp", _equal(udp_port.to_bytes(2, "big"))),
        *_device(INCOMING_DEVICE, device),
    )
    places = CHAINS if ipvs else (PREROUTING,)
    return [Rule(place, what, conditions) for place in places]


def no_way(source: str, target: str) -> Rule:
    """No packet that came by the device `source` is routed out by `target`, by IPVS neither."""
    what = f"no way between networks ({source}, {target})"
    conditions = (*_device(INCOMING_DEVICE, source), *_device(OUTGOING_DEVICE, target))
    return Rule(POSTROUTING, what, conditions)


def _in_order(rules: Sequence[Rule]) -> list[Rule]:
    """As the kernel lists them: chain by chain."""
    return sorted(rules, key=lambda rule: rule.place)


class Nftables:
    """A conversation with the kernel's firewall in the network namespace of this process.

    Raises `NetlinkError`, as all its calls do: EPERM without CAP_NET_ADMIN. `OSError` where the
    kernel has no nfnetlink.
    """

    def __init__(self) -> None:
        self._socket = sock.netlink_socket(NETFILTER)

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def tables(self) -> list[str]:
        """The names of all tables of the family inet; none where the kernel has no nf_tables.

        It may have nfnetlink all the same, whose answer to a subsystem that is neither there nor
        a module to be loaded is EINVAL (nfnetlink_rcv_msg, net/netfilter/nfnetlink.c), or
        EOPNOTSUPP where it is of a batch.
        """
        try:
            answers = self._dump(_message(GET_TABLE, codec.DUMP))
        except codec.NetlinkError as error:
            if error.errno in NO_SUBSYSTEM:
                return []
            raise
        return [codec.text(dict(codec.attributes(one, _BODY)).get(NAME, b"")) for one in answers]

    def drops(self, table: str, rules: Sequence[Rule]) -> bool:
        """Whether `drop` has been called with this, and nobody has undone it."""
        request = _message(GET_RULE, codec.DUMP, attribute(TABLE, _text(table)))
        seen = [dict(codec.attributes(one, _BODY)) for one in self._dump(request)]
        return [rule.get(COMMENT) for rule in seen] == [rule.mark for rule in _in_order(rules)]

    def drop(self, table: str, rules: Sequence[Rule]) -> None:
        """Have a table that drops what these rules match, and no more."""
        name = attribute(TABLE, _text(table))
        messages = [
            _message(NEW_TABLE, CREATE, name),  # so that there is one to be removed
            _message(DELETE_TABLE, 0, name),
            _message(NEW_TABLE, CREATE, name),
        ]
        for place in sorted({rule.place for rule in rules}):
            hook = attribute(1, _number(place)) + attribute(2, _number(AFTER_ALL))
            chain = name + attribute(CHAIN_NAME, _text(CHAINS[place]))
            chain += attribute(HOOK | NESTED, hook) + attribute(CHAIN_TYPE, _text("filter"))
            messages.append(_message(NEW_CHAIN, CREATE, chain))
        *others, last = [name + rule.attributes() for rule in _in_order(rules)]
        messages += [_message(NEW_RULE, CREATE | APPEND, one) for one in others]
        self._batch(*messages, _message(NEW_RULE, CREATE | APPEND | codec.ACK, last))

    def remove(self, table: str) -> None:
        """Remove a table that is there."""
        self._batch(_message(DELETE_TABLE, codec.ACK, attribute(TABLE, _text(table))))

    def _batch(self, *messages: bytes) -> None:
        """All of these changes or none.

        The last one's acknowledgement ends the answer, where no change's error does.
        """
        whose = pack("!BBH", 0, 0, SUBSYSTEM)
        begin, end = (codec.message(kind, 0, whose) for kind in (BATCH_BEGIN, BATCH_END))
        self._socket.send(begin + b"".join(messages) + end)
        for _ in codec.messages(self._socket.recv(DATAGRAM)):
            return

    def _dump(self, request: bytes) -> list[bytes]:
        return [message for _, message in whole_dump(self._socket, request)]


_BODY = codec.HEADER_SIZE + 4  # where the attributes of an answer begin, behind struct nfgenmsg


def _message(kind: int, flags: int, attributes: bytes = b"") -> bytes:
    head = pack("!BBH", INET, 0, 0)  # struct nfgenmsg
    return codec.message(SUBSYSTEM << 8 | kind, flags, head + attributes)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _number(value: int) -> bytes:
    return pack("!i", value)


def _device(which: int, name: str) -> tuple[tuple[str, bytes], ...]:
    """That the device by which a packet comes, or goes, has this name."""
    return ("meta", _meta(which)), ("cmp", _equal(name.encode().ljust(DEVICE_SIZE, b"\0")))


def _meta(key: int) -> bytes:
    return attribute(2, _number(key)) + attribute(1, _number(REGISTER))


def _equal(value: bytes) -> bytes:
    data = attribute(3 | NESTED, attribute(1, value))
    return attribute(1, _number(REGISTER)) + attribute(2, _number(0)) + data
