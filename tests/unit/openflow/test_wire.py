# SPDX-License-Identifier: Apache-2.0
"""OpenFlow's bytes, as far as they can be told without a switch. The rest: tests/contract."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.core.flows import DL_TYPE, IN_PORT, LOCAL, NW_DST, OUTPUT, Rule
from linen.openflow import wire

MESSAGES = [wire.Message(3, 7, b""), wire.Message(19, 8, b"x" * 300), wire.Message(2, 9, b"yy")]
STREAM = b"".join(wire.message(*one) for one in MESSAGES)


@given(st.lists(st.integers(1, len(STREAM)), max_size=8))
def test_messages_arrive_whole_from_whatever_pieces(cuts: list[int]) -> None:
    """However the bytes are cut up, the same messages come out."""
    inbox = wire.Inbox()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]

    assert [one for piece in pieces for one in inbox.feed(piece)] == MESSAGES


def test_a_length_that_cannot_be_is_refused() -> None:
    """A message shorter than its own head is no OpenFlow, and would never end."""
    with pytest.raises(wire.ProtocolError):
        list(wire.Inbox().feed(b"\x05\x00\x00\x04\x00\x00\x00\x01"))


def test_an_event_that_cannot_be_is_refused() -> None:
    """An event of no length would never end either."""
    body = wire.FLOW_MONITOR.to_bytes(2, "big") + bytes(6) + bytes(8)
    with pytest.raises(wire.ProtocolError):
        list(wire.events(body))


def test_the_order_of_fields_does_not_count() -> None:
    """Two rules that match the same have the same key."""
    fields = [(IN_PORT, LOCAL, b""), (DL_TYPE, b"\x08\0", b""), (NW_DST, b"\x0a\0\0\1", b"")]

    assert wire.entry(Rule(5, fields)) == wire.entry(Rule(5, fields[::-1]))


def test_priority_is_part_of_the_key_and_actions_are_not() -> None:
    """A rule is told from others by priority and match."""
    send = ((OUTPUT, LOCAL),)

    assert wire.entry(Rule(5, ())).key != wire.entry(Rule(6, ())).key
    assert wire.entry(Rule(5, ())).key == wire.entry(Rule(5, (), send)).key
    assert wire.entry(Rule(5, ())).content != wire.entry(Rule(5, (), send)).content


def test_errors_that_can_be_mended_are_explained() -> None:
    """The words say what would be right; an error that nobody thought of has its numbers."""
    assert "Bridge.protocols" in wire.error(bytes(4))
    assert wire.error(b"\0\x02\0\x04") == "OpenFlow error type 2, code 4"
