# SPDX-License-Identifier: Apache-2.0
"""How the witness of rules counts them."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
from bench import rules
from bench.rules import RuleWitness, growth
from bench.witness import NotSeen

from linen.core import flows
from linen.openflow import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENT = struct.Struct("!HH6xH12x")  # length, event, priority, and a cookie


def told(*events: int, priority: int = flows.PEER) -> wire.Message:
    head = struct.pack("!HH4x", wire.FLOW_MONITOR, 0)
    body = head + b"".join(EVENT.pack(EVENT.size, event, priority) for event in events)
    return wire.Message(wire.MULTIPART_REPLY, 2, body)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((wire.INITIAL, wire.INITIAL, wire.ADDED), 3),
        ((wire.ADDED, wire.REMOVED, wire.REMOVED), -1),
        ((wire.MODIFIED,), 0),
        ((), 0),
    ],
)
def test_rules_are_counted(events: tuple[int, ...], expected: int) -> None:
    """Rules that were there and new ones count, those that go count off, changed ones stay."""
    assert growth(told(*events)) == expected


def test_rules_for_no_peer_do_not_count() -> None:
    """What a bridge has without peers, too, tells nothing of them."""
    assert growth(told(wire.INITIAL, priority=flows.GUARD)) == 0
    assert growth(told(wire.INITIAL, priority=flows.ASK)) == 1


def test_pauses_are_no_rules() -> None:
    """A switch that has much to tell says that it pauses, and goes on, in events without a rule."""
    paused, resumed = 5, 6  # section 7.3.5.18.3 (OFPFME_PAUSED, OFPFME_RESUMED)
    body = told(wire.ADDED).body + b"".join(
        struct.pack("!HH4x", 8, event) for event in (paused, resumed)
    )
    assert growth(wire.Message(wire.MULTIPART_REPLY, 2, body)) == 1


def test_other_messages_tell_of_no_rule() -> None:
    """An echo is none of the witness's business."""
    assert growth(wire.Message(wire.ECHO_REQUEST, 1, b"echo")) == 0


def test_refusal_is_told() -> None:
    """A bridge that tells of no rules cannot be watched, and it is said why."""
    refused = wire.Message(wire.ERROR, 2, struct.pack("!HH", 1, 2))
    with pytest.raises(NotSeen, match="knows no flow monitors"):
        growth(refused)


@pytest.fixture
def switch(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listens where the witness looks for the OVS bridge."""
    monkeypatch.setattr(rules, "sockets_of", lambda _pid: short_folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_folder / "br0.mgmt"))
        listening.listen()
        listening.settimeout(10)
        yield listening


def on_the_wire(message: wire.Message) -> bytes:
    return wire.message(message.type, message.transaction, message.body)


def test_a_lost_connection_is_counted_off(switch: socket.socket) -> None:
    """What a switch tells after it has hung up counts alone, in whatever way it did."""
    three = on_the_wire(told(wire.INITIAL, wire.INITIAL, wire.INITIAL))
    with RuleWitness(0) as witness:
        with switch.accept()[0] as connection:
            connection.sendall(three)
            witness.wait_for_peers(1, 10)
            # Closed with the witness's words unread: a reset, not an end.
        with switch.accept()[0] as connection:
            connection.sendall(three)
            witness.wait_for_peers(1, 10)


def test_who_waits_is_told_why_nothing_comes(switch: socket.socket) -> None:
    """A switch that cannot tell of rules is no lack of rules."""
    refused = wire.Message(wire.ERROR, 2, struct.pack("!HH", 1, 2))
    with RuleWitness(0) as witness, switch.accept()[0] as connection:
        connection.sendall(on_the_wire(refused))
        with pytest.raises(NotSeen, match="knows no flow monitors"):
            witness.wait_for_peers(1, 10)
