# SPDX-License-Identifier: Apache-2.0
"""Tables of nftables, which drop VXLAN from pods and packets from one network to another.

That is all that Linen needs of a firewall, so the messages are made here (linux/netfilter/
nf_tables.h and nfnetlink.h): no program or library has to be there. Numbers inside nftables' own
attributes are big-endian.

nftables has a table of a name once for each of its families. Ours is one of the family inet, and
where something is dropped on a device's way to the host, one of the family netdev besides.
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

    Change = tuple[int, int, bytes]  # the kind of a message, a family, attributes

TABLE_PREFIX = "linen-"  # of our tables

NETFILTER = 12  # NETLINK_NETFILTER
DATAGRAM = 1 << 16  # bytes
NESTED = 0x8000  # NLA_F_NESTED
CREATE, APPEND = 0x400, 0x800  # NLM_F_CREATE, NLM_F_APPEND
ANY, INET, NETDEV = 0, 1, 5  # NFPROTO_UNSPEC, NFPROTO_INET, NFPROTO_NETDEV
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 16, 17
NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, NEW_RULE, GET_RULE = 3, 4, 6, 7
# Behind all that translates addresses: IPVS is at 99 in LOCAL_IN, and nothing there comes later
# (net/netfilter/ipvs/ip_vs_core.c).
AFTER_ALL = 300
# Attributes: of a table, of a chain, of a hook, of a rule, of an expression.
NAME = TABLE = 1
CHAIN_NAME, HOOK, CHAIN_TYPE = 3, 4, 7
HOOK_NUMBER, HOOK_PRIORITY, HOOK_DEVICES, DEVICE_NAME = 1, 2, 4, 1
OF_CHAIN, EXPRESSIONS, COMMENT = 2, 4, 7
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
DROP, ACCEPT = 0, 1  # NF_DROP, NF_ACCEPT
NO_SUBSYSTEM = (errno.EINVAL, errno.EOPNOTSUPP)


class Place:
    """Where on their way packets are looked at: by a chain of ours.

    `family`: of its table. `hook`: by its number in that family.
    """

    __slots__ = ("chain", "family", "hook")

    def __init__(self, chain: str, family: int, hook: int) -> None:
        self.chain = chain
        self.family = family
        self.hook = hook


# What a device hands to the host (NF_NETDEV_INGRESS), what is for the host (NF_INET_LOCAL_IN), what
# it hands on (NF_INET_FORWARD), and what leaves it (NF_INET_POST_ROUTING).
INGRESS = Place("from-pods", NETDEV, 0)
LOCAL_IN = Place("to-this-node", INET, 1)
FORWARD = Place("through-this-node", INET, 2)
POSTROUTING = Place("out-of-this-node", INET, 4)
PLACES = (INGRESS, LOCAL_IN, FORWARD, POSTROUTING)


class Rule:
    """Packets to be dropped: at a place on their way, those for which all of `conditions` hold.

    Or those that are let by there, without being asked about by the rules behind it: `lets_by`.

    `what`: in words, which `nft list ruleset` shows beside the rule, and which it is known by.
    `device`: at `INGRESS`, which device's packets.
    """

    __slots__ = ("_conditions", "_verdict", "device", "mark", "place")

    def __init__(
        self,
        place: Place,
        what: str,
        conditions: Sequence[tuple[str, bytes]],
        device: str = "",
        *,
        lets_by: bool = False,
    ) -> None:
        text = _text(f"Linen: {what}")
        self.mark = bytes((0, len(text))) + text  # NFTNL_UDATA_RULE_COMMENT
        self.place = place
        self.device = device
        self._conditions = conditions
        self._verdict = ACCEPT if lets_by else DROP

    def attributes(self) -> bytes:
        """What the kernel is told of it, but for the table."""
        verdict = attribute(2 | NESTED, attribute(1, number(self._verdict)))
        ends = attribute(1, number(0)) + attribute(2 | NESTED, verdict)
        expressions = b"".join(
            attribute(
                1 | NESTED,  # NFTA_LIST_ELEM
                attribute(EXPRESSION_NAME, _text(name)) + attribute(EXPRESSION_DATA | NESTED, data),
            )
            for name, data in (*self._conditions, ("immediate", ends))
        )
        told = attribute(OF_CHAIN, _text(self.place.chain))
        return told + attribute(EXPRESSIONS | NESTED, expressions) + attribute(COMMENT, self.mark)


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

    def tables(self) -> set[str]:
        """The names of all tables of our families; none where the kernel has no nf_tables.

        It may have nfnetlink all the same, whose answer to a subsystem that is neither there nor
        a module to be loaded is EINVAL (nfnetlink_rcv_msg, net/netfilter/nfnetlink.c), or
        EOPNOTSUPP where it is of a batch.
        """
        return {name for _, name in self._tables()}

    def drops(self, table: str, rules: Sequence[Rule]) -> bool:
        """Whether `drop` has been called with this, and nobody has undone it."""
        families = {rule.place.family for rule in rules}
        if self._families(table) != families:
            return False
        for family in families:
            wanted = [(rule.place.chain, rule.mark) for rule in _in_order(rules, family)]
            if self._rules(family, table) != wanted:
                return False
        return NETDEV not in families or self._hooked(table) == _devices(rules)

    def drop(self, table: str, rules: Sequence[Rule]) -> None:
        """Have a table that drops what these rules match, and no more: at once, or not at all.

        Raises `NetlinkError`, too, with ENOENT where the device of a rule is not there, and with
        EOPNOTSUPP where the kernel does not look at what devices hand to the host
        (CONFIG_NETFILTER_INGRESS, CONFIG_NF_TABLES_NETDEV).
        """
        name = attribute(TABLE, _text(table))
        changes = [(DELETE_TABLE, family, name) for family in self._families(table)]
        for family in sorted({rule.place.family for rule in rules}):
            changes.append((NEW_TABLE, family, name))
            changes += _new_chains(name, _in_order(rules, family))
        self._batch(changes)

    def remove(self, table: str) -> None:
        """Remove a table that is there."""
        name = attribute(TABLE, _text(table))
        there = self._families(table) or {INET}  # whose absence the kernel tells
        self._batch([(DELETE_TABLE, family, name) for family in there])

    def _families(self, table: str) -> set[int]:
        """The families that have a table of this name."""
        return {family for family, name in self._tables() if name == table}

    def _tables(self) -> list[tuple[int, str]]:
        """Family and name of all tables of our families."""
        try:
            answers = self._dump(_message(GET_TABLE, ANY, codec.DUMP))
        except codec.NetlinkError as error:
            if error.errno in NO_SUBSYSTEM:
                return []
            raise
        found = [
            (one[codec.HEADER_SIZE], codec.text(dict(codec.attributes(one, _BODY)).get(NAME, b"")))
            for one in answers
        ]
        return [(family, name) for family, name in found if family in (INET, NETDEV)]

    def _rules(self, family: int, table: str) -> list[tuple[str, bytes | None]]:
        """Chain and mark of each rule of a table."""
        request = _message(GET_RULE, family, codec.DUMP, attribute(TABLE, _text(table)))
        seen = [dict(codec.attributes(one, _BODY)) for one in self._dump(request)]
        return [(codec.text(rule[OF_CHAIN]), rule.get(COMMENT)) for rule in seen]

    def _hooked(self, table: str) -> set[str]:
        """The devices whose packets to the host our chain sees."""
        named = attribute(TABLE, _text(table)) + attribute(CHAIN_NAME, _text(INGRESS.chain))
        self._socket.send(_message(GET_CHAIN, NETDEV, 0, named))
        for _, answer in codec.messages(self._socket.recv(DATAGRAM)):
            chain = dict(codec.attributes(answer, _BODY))
            hook = dict(codec.attributes(chain[HOOK], 0))
            return {codec.text(data) for _, data in codec.attributes(hook[HOOK_DEVICES], 0)}
        return set()

    def _batch(self, changes: Sequence[Change]) -> None:
        """All of these changes or none.

        The last one's acknowledgement ends the answer, where no change's error does.
        """
        whose = pack("!BBH", ANY, 0, SUBSYSTEM)
        begin, end = (codec.message(kind, 0, whose) for kind in (BATCH_BEGIN, BATCH_END))
        acknowledged = len(changes) - 1
        messages = [
            _message(
                kind,
                family,
                _FLAGS.get(kind, 0) | (codec.ACK if position == acknowledged else 0),
                attributes,
            )
            for position, (kind, family, attributes) in enumerate(changes)
        ]
        self._socket.send(begin + b"".join(messages) + end)
        for _ in codec.messages(self._socket.recv(DATAGRAM)):
            return

    def _dump(self, request: bytes) -> list[bytes]:
        return [message for _, message in whole_dump(self._socket, request)]


_BODY = codec.HEADER_SIZE + 4  # where the attributes of an answer begin, behind struct nfgenmsg


_FLAGS = {NEW_TABLE: CREATE, NEW_CHAIN: CREATE, NEW_RULE: CREATE | APPEND}


def _in_order(rules: Sequence[Rule], family: int) -> list[Rule]:
    """Those of a family as the kernel lists them: chain by chain."""
    places = [place for place in PLACES if place.family == family]
    return [rule for place in places for rule in rules if rule.place is place]


def _devices(rules: Sequence[Rule]) -> set[str]:
    return {rule.device for rule in rules if rule.place is INGRESS}


def _new_chains(table: bytes, rules: Sequence[Rule]) -> list[Change]:
    """What makes the chains of some rules, and these."""
    changes = []
    for place in dict.fromkeys(rule.place for rule in rules):
        hook = attribute(HOOK_NUMBER, number(place.hook))
        hook += attribute(HOOK_PRIORITY, number(AFTER_ALL))
        if place is INGRESS:
            names = [attribute(DEVICE_NAME, _text(name)) for name in sorted(_devices(rules))]
            hook += attribute(HOOK_DEVICES | NESTED, b"".join(names))
        chain = attribute(CHAIN_NAME, _text(place.chain)) + attribute(HOOK | NESTED, hook)
        chain += attribute(CHAIN_TYPE, _text("filter"))
        changes.append((NEW_CHAIN, place.family, table + chain))
    changes += [(NEW_RULE, rule.place.family, table + rule.attributes()) for rule in rules]
    return changes


def _message(kind: int, family: int, flags: int, attributes: bytes = b"") -> bytes:
    head = pack("!BBH", family, 0, 0)  # struct nfgenmsg
    return codec.message(SUBSYSTEM << 8 | kind, flags, head + attributes)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def number(value: int) -> bytes:
    """A 32-bit number as nftables' attributes have it."""
    return pack("!i", value)
