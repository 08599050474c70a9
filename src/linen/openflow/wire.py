# SPDX-License-Identifier: Apache-2.0
"""OpenFlow 1.4 without I/O, just the messages that are needed: values to bytes and back.

Sections are those of the OpenFlow Switch Specification 1.4.0. Numbers are big-endian.

A rule on the wire is a key and a content. The key is what makes it this rule, its priority and
match, the content is its cookie and instructions: Open vSwitch keeps one content for each key.
Both are compared as bytes. Their form is Open vSwitch's own but for the order of fields, so
reading thirty thousand rules costs no more than cutting them out of messages.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, NamedTuple

from linen.core import flows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

VERSION = 5  # OpenFlow 1.4, the first with bundles and flow monitors (sections 7.3.9, 7.3.5.18)
HEADER = struct.Struct("!BBHI")  # version, type, length, transaction
TABLE = 0

# Types of messages (section 7.1).
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = 0, 1, 2, 3
FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY = 14, 18, 19
BUNDLE_CONTROL, BUNDLE_ADD = 33, 34

# Types of bundle control messages, and their flags (section 7.3.9).
OPEN, COMMIT, COMMITTED = 0, 4, 5
ATOMIC_AND_ORDERED = 3

FLOW_MONITOR = 16
MORE_FOLLOW = 1
# Which events are wanted: what there is, what is added, removed and modified, with instructions.
EVENTS_WANTED = 0x1F

# Events of a flow monitor. Our own changes come abbreviated, since we know them.
INITIAL, ADDED, REMOVED, MODIFIED = 0, 1, 2, 3

# What tells our rules from others': the upper half of the cookie. The lower half is the version of
# their layout.
OURS = 0x6C696E65
COOKIE = OURS << 32 | 1
_OURS = OURS.to_bytes(4, "big")

_ADD, _DELETE_STRICT = 0, 4
_NO_BUFFER = 0xFFFFFFFF
_ANY = 0xFFFFFFFF
_NO_CONTENT = bytes(8)  # nothing but a cookie of zeros
_APPLY_ACTIONS = 4
_SET_FIELD, _OUTPUT = 25, 0
_OXM_MATCH = 1

# To this table, from the port where the packet came in (NXAST_RESUBMIT_TABLE, lib/ofp-actions.c of
# Open vSwitch).
_RESUBMIT = struct.pack("!HHIHHB3x", 0xFFFF, 16, 0x2320, 14, 0xFFF8, TABLE)

_FLOW_MOD = struct.Struct("!QQBBHHHIIIHH")
_BUNDLE = struct.Struct("!IHH")
_MULTIPART = struct.Struct("!HH4x")
_MONITOR = struct.Struct("!IIIHBB")
_MATCH = struct.Struct("!HH")
_EVENT = struct.Struct("!HH")
_FULL_EVENT = struct.Struct("!HHBBHHH4xQ")
_ERROR = struct.Struct("!HH")

# Fields: class and number (section 7.2.3.7; for tunnels lib/meta-flow.h of Open vSwitch).
_OPENFLOW, _NICIRA = 0x8000, 0x0001
_FIELDS = {
    flows.IN_PORT: (_OPENFLOW, 0),
    flows.DL_DST: (_OPENFLOW, 3),
    flows.DL_SRC: (_OPENFLOW, 4),
    flows.DL_TYPE: (_OPENFLOW, 5),
    flows.NW_PROTO: (_OPENFLOW, 10),
    flows.NW_DST: (_OPENFLOW, 12),
    flows.TP_DST: (_OPENFLOW, 16),  # of UDP
    flows.ARP_OP: (_OPENFLOW, 21),
    flows.ARP_SPA: (_OPENFLOW, 22),
    flows.ARP_TPA: (_OPENFLOW, 23),
    flows.IPV6_SRC: (_OPENFLOW, 26),
    flows.IPV6_DST: (_OPENFLOW, 27),
    flows.ICMPV6_TYPE: (_OPENFLOW, 29),
    flows.ICMPV6_CODE: (_OPENFLOW, 30),
    flows.ND_TARGET: (_OPENFLOW, 31),
    flows.TUN_ID: (_OPENFLOW, 38),
    flows.MARK: (_NICIRA, 0),
    flows.TUN_SRC: (_NICIRA, 31),
    flows.TUN_DST: (_NICIRA, 32),
    flows.TUN_IPV6_SRC: (_NICIRA, 109),
    flows.TUN_IPV6_DST: (_NICIRA, 110),
}


class ProtocolError(Exception):
    """The peer sent what no OpenFlow switch sends."""


class Entry(NamedTuple):
    """A rule on the wire."""

    key: bytes
    content: bytes


class Message(NamedTuple):
    """A message: its type, its transaction, and what follows the header."""

    type: int
    transaction: int
    body: bytes


class Event(NamedTuple):
    """What a flow monitor tells of one rule."""

    event: int
    entry: Entry


# --- rules ---


def entry(rule: flows.Rule) -> Entry:
    """A rule of ours as it goes over the wire."""
    fields = sorted([_field(*part) for part in rule.match])
    return Entry(rule.priority.to_bytes(2, "big") + b"".join(fields), _content(rule.actions))


def is_ours(content: bytes) -> bool:
    """Whether a rule is one of ours, of whatever version."""
    return content.startswith(_OURS)


# Rules have most of their parts in common, and those of one peer what becomes of packets.


@functools.lru_cache(maxsize=64)
def _content(actions: Sequence[flows.Action]) -> bytes:
    written = b"".join([_action(*action) for action in actions])
    if written:
        written = struct.pack("!HH4x", _APPLY_ACTIONS, len(written) + 8) + written
    return COOKIE.to_bytes(8, "big") + written


@functools.lru_cache(maxsize=64)
def _field(name: str, value: bytes, mask: bytes = b"") -> bytes:
    klass, number = _FIELDS[name]
    head = klass << 16 | number << 9 | bool(mask) << 8 | len(value) + len(mask)
    return head.to_bytes(4, "big") + value + mask


def _action(name: str, value: bytes) -> bytes:
    if name == flows.OUTPUT:
        return struct.pack("!HH4sH6x", _OUTPUT, 16, value, 0)
    if name == flows.RESUBMIT:
        return _RESUBMIT
    field = _padded(bytes(4) + _field(name, value))
    return struct.pack("!HH", _SET_FIELD, len(field)) + field[4:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _match(fields: bytes) -> bytes:
    return _padded(_MATCH.pack(_OXM_MATCH, len(fields) + 4) + fields)


# --- messages to the switch ---


def message(kind: int, transaction: int, body: bytes = b"") -> bytes:
    """A whole message."""
    return HEADER.pack(VERSION, kind, HEADER.size + len(body), transaction) + body


def hello(transaction: int) -> bytes:
    """The first message, which says that we speak this version alone (section 7.5.1)."""
    return message(HELLO, transaction, struct.pack("!HHI", 1, 8, 1 << VERSION))


def monitor(transaction: int) -> bytes:
    """Ask for all rules of our table, and from then on for all changes that others make."""
    request = _MONITOR.pack(transaction, _ANY, _ANY, EVENTS_WANTED, TABLE, 0) + _match(b"")
    body = _MULTIPART.pack(FLOW_MONITOR, 0) + request
    return message(MULTIPART_REQUEST, transaction, body)


def bundle(transaction: int, add: Iterable[Entry], delete: Iterable[bytes]) -> bytes:
    """A bundle that waits for `commit`, and a question whose answer says that it is complete.

    Each message carries `transaction`, which is the bundle's id as well. `delete`: keys.
    """
    changes = [_flow_mod(transaction, _DELETE_STRICT, key, _NO_CONTENT) for key in delete]
    changes += [_flow_mod(transaction, _ADD, key, content) for key, content in add]
    head = _BUNDLE.pack(transaction, 0, ATOMIC_AND_ORDERED)
    pieces = [message(BUNDLE_ADD, transaction, head + change) for change in changes]
    echo = message(ECHO_REQUEST, transaction)
    return b"".join([_control(transaction, OPEN), *pieces, echo])


def commit(transaction: int) -> bytes:
    """Carry out all messages of a bundle, or none."""
    return _control(transaction, COMMIT)


def _control(transaction: int, kind: int) -> bytes:
    body = _BUNDLE.pack(transaction, kind, ATOMIC_AND_ORDERED)
    return message(BUNDLE_CONTROL, transaction, body)


def _flow_mod(transaction: int, command: int, key: bytes, content: bytes) -> bytes:
    body = _FLOW_MOD.pack(
        int.from_bytes(content[:8], "big"),
        0,  # the cookie does not choose what is deleted, the key does
        TABLE,
        command,
        0,
        0,  # no time-outs
        int.from_bytes(key[:2], "big"),
        _NO_BUFFER,
        _ANY,
        _ANY,
        0,
        0,
    )
    return message(FLOW_MOD, transaction, body + _match(key[2:]) + content[8:])


# --- messages from the switch ---


class Inbox:
    """Bytes in, whole messages out, whatever the pieces that they come in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes. Raises `ProtocolError`."""
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= HEADER.size:
            _, kind, length, transaction = HEADER.unpack_from(data, start)
            if length < HEADER.size:
                raise ProtocolError(f"a message of {length} bytes")
            if end - start < length:
                break
            yield Message(kind, transaction, data[start + HEADER.size : start + length])
            start += length
        self._rest = data[start:]


def events(body: bytes) -> Iterator[Event]:
    """What a multipart reply tells of rules; nothing if it is none of a flow monitor."""
    kind, _ = _MULTIPART.unpack_from(body)
    start = _MULTIPART.size
    while kind == FLOW_MONITOR and start < len(body):
        length, event = _EVENT.unpack_from(body, start)
        if length < 8 or start + length > len(body):
            raise ProtocolError(f"an event of {length} bytes")
        if event <= MODIFIED:
            yield _event(body[start : start + length])
        start += length


def is_committed(body: bytes) -> bool:
    """Whether a bundle control message says that a bundle was carried out."""
    return bool(_BUNDLE.unpack_from(body)[1] == COMMITTED)


def more_follow(body: bytes) -> bool:
    """Whether a multipart reply is not the last of its kind."""
    return bool(_MULTIPART.unpack_from(body)[1] & MORE_FOLLOW)


def _event(data: bytes) -> Event:
    _, event, _, _, _, _, priority, cookie = _FULL_EVENT.unpack_from(data)
    _, length = _MATCH.unpack_from(data, _FULL_EVENT.size)
    start = _FULL_EVENT.size + _MATCH.size
    end = start + length - _MATCH.size
    fields = b"".join(sorted(_fields(data, start, end)))
    instructions = data[end + -end % 8 :]
    key = priority.to_bytes(2, "big") + fields
    return Event(event, Entry(key, cookie.to_bytes(8, "big") + instructions))


def _fields(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """The fields of a match, each with its head."""
    while start < end:
        stop = start + 4 + data[start + 3]
        yield data[start:stop]
        start = stop


def error(body: bytes) -> str:
    """What an error message says, in words (section 7.4.4)."""
    kind, code = _ERROR.unpack_from(body)
    return _ERRORS.get((kind, code), f"OpenFlow error type {kind}, code {code}")


_ERRORS = {
    (0, 0): "it does not speak OpenFlow 1.4: let Bridge.protocols be empty, or have OpenFlow14",
    (1, 2): "it knows no flow monitors",
    (5, 1): "its table of rules is full",
    (17, 13): "it cannot carry out a change of rules",
}
