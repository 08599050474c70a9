# SPDX-License-Identifier: Apache-2.0
"""One table of nftables: packets to a UDP port are dropped where they come from one device.

That is all that Linen needs of a firewall, so the messages are made here (linux/netfilter/
nf_tables.h and nfnetlink.h): no program or library has to be there. Numbers inside nftables' own
attributes are big-endian.
"""

from __future__ import annotations

from _struct import pack

from linen.light import sock
from linen.netlink import codec
from linen.netlink.codec import attribute

TABLE_PREFIX = "linen-"  # of our tables

NETFILTER = 12  # NETLINK_NETFILTER
DATAGRAM = 1 << 16  # bytes
NESTED = 0x8000  # NLA_F_NESTED
CREATE = 0x400  # NLM_F_CREATE
INET, SUBSYSTEM = 1, 10  # NFPROTO_INET, NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 16, 17
NEW_TABLE, GET_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE, GET_RULE = 0, 1, 2, 3, 6, 7
CHAIN = "from-pods"
PREROUTING, BEFORE_ALL = 0, -300  # NF_INET_PRE_ROUTING, NF_IP_PRI_RAW
# Attributes: of a table, of a chain, of a rule, of an expression.
NAME = TABLE = 1
CHAIN_NAME, HOOK, CHAIN_TYPE = 3, 4, 7
OF_CHAIN, EXPRESSIONS, COMMENT = 2, 4, 7
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
REGISTER = 1  # NFT_REG_1
INCOMING_DEVICE, PROTOCOL = 6, 16  # NFT_META_IIFNAME, NFT_META_L4PROTO
TRANSPORT_HEADER = 2  # NFT_PAYLOAD_TRANSPORT_HEADER
UDP = b"\x11"
DEVICE_SIZE = 16  # IFNAMSIZ


class Nftables:
    """A conversation with the kernel's firewall in the network namespace of this process.

    Raises `NetlinkError`, as all its calls do: EPERM without CAP_NET_ADMIN. `OSError` where the
    kernel has no nftables.
    """

    def __init__(self) -> None:
        self._socket = sock.netlink_socket(NETFILTER)

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def tables(self) -> list[str]:
        """The names of all tables of the family inet."""
        answers = self._dump(_message(GET_TABLE, codec.DUMP))
        return [codec.text(dict(codec.attributes(one, _BODY)).get(NAME, b"")) for one in answers]

    def drops(self, table: str, device: str, udp_port: int) -> bool:
        """Whether `drop` has been called with this, and nobody has undone it."""
        request = _message(GET_RULE, codec.DUMP, attribute(TABLE, _text(table)))
        rules = [dict(codec.attributes(one, _BODY)) for one in self._dump(request)]
        return [rule.get(COMMENT) for rule in rules] == [_comment(device, udp_port)]

    def drop(self, table: str, device: str, udp_port: int) -> None:
        """Have a table that drops UDP packets to a port which come from a device, and no more."""
        name = attribute(TABLE, _text(table))
        hook = attribute(1, _number(PREROUTING)) + attribute(2, _number(BEFORE_ALL))
        chain = name + attribute(CHAIN_NAME, _text(CHAIN)) + attribute(HOOK | NESTED, hook)
        rule = name + attribute(OF_CHAIN, _text(CHAIN))
        rule += attribute(EXPRESSIONS | NESTED, _expressions(device, udp_port))
        rule += attribute(COMMENT, _comment(device, udp_port))
        self._batch(
            _message(NEW_TABLE, CREATE, name),  # so that there is one to be removed
            _message(DELETE_TABLE, 0, name),
            _message(NEW_TABLE, CREATE, name),
            _message(NEW_CHAIN, CREATE, chain + attribute(CHAIN_TYPE, _text("filter"))),
            _message(NEW_RULE, CREATE | codec.ACK, rule),
        )

    def remove(self, table: str) -> None:
        """Remove a table that is there."""
        self._batch(_message(DELETE_TABLE, codec.ACK, attribute(TABLE, _text(table))))

    def _batch(self, *messages: bytes) -> None:
        """All of these changes or none."""
        whose = pack("!BBH", 0, 0, SUBSYSTEM)
        begin, end = (codec.message(kind, 0, whose) for kind in (BATCH_BEGIN, BATCH_END))
        self._socket.send(begin + b"".join(messages) + end)
        for _ in codec.messages(self._socket.recv(DATAGRAM)):
            return

    def _dump(self, request: bytes) -> list[bytes]:
        self._socket.send(request)
        found: list[bytes] = []
        while True:
            for kind, message in codec.messages(self._socket.recv(DATAGRAM)):
                if kind == codec.DONE:
                    return found
                found.append(message)


_BODY = codec.HEADER_SIZE + 4  # where the attributes of an answer begin, behind struct nfgenmsg


def _message(kind: int, flags: int, attributes: bytes = b"") -> bytes:
    head = pack("!BBH", INET, 0, 0)  # struct nfgenmsg
    return codec.message(SUBSYSTEM << 8 | kind, flags, head + attributes)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _number(value: int) -> bytes:
    return pack("!i", value)


def _comment(device: str, udp_port: int) -> bytes:
    """What `nft list ruleset` shows beside the rule, and what we know it by."""
    text = _text(f"Linen: no VXLAN from pods ({device}, {udp_port})")
    return bytes((0, len(text))) + text  # NFTNL_UDATA_RULE_COMMENT


def _expressions(device: str, udp_port: int) -> bytes:
    """The rule: where the device is this one, the protocol UDP, and the port this one, drop."""
    verdict = attribute(2 | NESTED, attribute(1, _number(0)))  # NF_DROP
    port = (TRANSPORT_HEADER, 2, 2)  # base, offset and length of the destination port
    loaded = b"".join(
        attribute(kind, _number(value)) for kind, value in zip((2, 3, 4), port, strict=True)
    )
    return b"".join(
        attribute(
            1 | NESTED,  # NFTA_LIST_ELEM
            attribute(EXPRESSION_NAME, _text(name)) + attribute(EXPRESSION_DATA | NESTED, data),
        )
        for name, data in (
            ("meta", _meta(INCOMING_DEVICE)),
            ("cmp", _equal(device.encode().ljust(DEVICE_SIZE, b"\0"))),
            ("meta", _meta(PROTOCOL)),
            ("cmp", _equal(UDP)),
            ("payload", attribute(1, _number(REGISTER)) + loaded),
            ("cmp", _equal(udp_port.to_bytes(2, "big"))),
            ("immediate", attribute(1, _number(0)) + attribute(2 | NESTED, verdict)),
        )
    )


def _meta(key: int) -> bytes:
    return attribute(2, _number(key)) + attribute(1, _number(REGISTER))


def _equal(value: bytes) -> bytes:
    data = attribute(3 | NESTED, attribute(1, value))
    return attribute(1, _number(REGISTER)) + attribute(2, _number(0)) + data
