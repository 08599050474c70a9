# SPDX-License-Identifier: Apache-2.0
"""OVSDB's messages, whatever the pieces that they arrive in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.ovsdb import wire

MESSAGES = [
    {"id": 1, "result": [{"rows": [{"name": 'a"}{', "x": ["set", []]}]}], "error": None},
    {"id": "echo", "method": "echo", "params": ["äöü }"]},
    {"id": None, "method": "update", "params": [{}]},
]


@given(st.lists(st.integers(1, 7), max_size=120))
def test_any_pieces(sizes: list[int]) -> None:
    """The same messages come out, in order, wherever the stream is cut."""
    stream = "".join(json.dumps(message, ensure_ascii=False) for message in MESSAGES).encode()
    inbox = wire.Inbox()
    found = []

    for size in sizes:
        piece, stream = stream[:size], stream[size:]
        found += list(inbox.feed(piece)) if piece else []
    if stream:
        found += list(inbox.feed(stream))

    assert found == MESSAGES


def test_refuses_what_no_server_sends() -> None:
    """A peer that sends JSON but no object is no OVSDB server."""
    with pytest.raises(wire.ProtocolError):
        list(wire.Inbox().feed(b"[] {}"))


def test_echo_is_answered_as_it_came() -> None:
    """The answer to an echo has its id and its parameters."""
    answer = json.loads(wire.echo_reply(MESSAGES[1]))

    assert answer == {"id": "echo", "result": ["äöü }"], "error": None}
