# SPDX-License-Identifier: Apache-2.0
"""What is said of a peer, from what Open vSwitch, BFD and the probe say."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from linen.core.cluster import Peer
from linen.core.notation import to_map
from linen.flaxd import health, probe

NODE2 = Peer("node2", "10.245.0.2", ranges=("10.244.2.0/24",))

# As Open vSwitch 3.1 writes them.
NEVER = {"state": "down", "forwarding": "false", "flap_count": "0", "remote_state": "down"}
BFD_UP = {"state": "up", "forwarding": "true", "flap_count": "1", "remote_state": "up"}
LOST = {
    "state": "down",
    "forwarding": "false",
    "flap_count": "2",
    "remote_state": "down",
    "diagnostic": "Control Detection Time Expired",
}
ONE_WAY = {"state": "init", "forwarding": "false", "flap_count": "0", "remote_state": "down"}


def row(
    status: dict[str, str] | None = None, *, ofport: Any = 1, error: Any = ("set", ())
) -> dict[str, Any]:
    """A row of Interface in OVSDB's notation; without `status` BFD is off."""
    return {
        "name": "vxif10_245_0_2",
        "options": to_map({"key": "flow", "remote_ip": "10.245.0.2"}),
        "ofport": ofport,
        "error": list(error) if isinstance(error, tuple) else error,
        "bfd": to_map({"enable": "false" if status is None else "true"}),
        "bfd_status": to_map(status or {}),
    }


def result(answers: str) -> probe.Result:
    """The result of a probe that was answered (.) or lost (x)."""
    window = probe._Window()
    for answer in answers:
        window.add(None if answer == "x" else 0.001)
    return window.result("10.244.2.1")


def judge(status: dict[str, str] | None, answers: str = "") -> health.PeerHealth:
    """The health of node2."""
    results = {"node2": [result(answers)]} if answers else {}
    (found,) = health.assess([NODE2], [row(status)], results)
    return found


@pytest.mark.parametrize(
    ("status", "answers", "state", "said"),
    [
        (BFD_UP, "...", "up", "BFD is up and probes are answered"),
        (BFD_UP, "", "up", "BFD is up"),
        (BFD_UP, "..xx", "degraded", "10.244.2.1 get lost"),
        (BFD_UP, "..xxx", "degraded", "the Linux bridge or a firewall on node2"),
        (BFD_UP, "xxxx", "unknown", "before node2 has its first pod"),
        (LOST, "..xxx", "down", "the underlay between the nodes"),
        (LOST, "xxx", "down", "or node2 itself"),
        (LOST, "", "down", "the underlay"),
        (LOST, "...", "degraded", "node2 no longer speaks it"),
        (ONE_WAY, "..xxx", "down", "packets of the peer arrive, but ours do not reach it"),
        (NEVER, "...", "up", "node2 has never spoken BFD (an older version"),
        (NEVER, "..xxx", "down", "answers no probe any more"),
        (NEVER, "xxx", "unknown", "nothing has come from node2 yet"),
        (NEVER, "", "unknown", "node2 has never spoken BFD"),
        ({}, "", "unknown", "node2 has never spoken BFD"),
        (None, "...", "up", "BFD is off"),
        (None, "..xxx", "down", "10.244.2.1 answers no probe any more"),
        (None, "", "unknown", "BFD is off and there are no probes"),
    ],
)
def test_judgement(status: dict[str, str] | None, answers: str, state: str, said: str) -> None:
    """Witnesses that agree give up or down; where they don't, the reason says where to look."""
    found = judge(status, answers)

    assert found.state == state
    assert said in found.reason


@pytest.mark.parametrize(
    ("rows", "tunnel", "state", "said"),
    [
        ([], "missing", "down", "there is no tunnel to 10.245.0.2 (yet)"),
        ([row(BFD_UP, ofport=["set", []])], "pending", "unknown", "has not made port vxif"),
        (
            [row(BFD_UP, ofport=-1, error="could not add network device vxif (File exists)")],
            "refused",
            "down",
            "refuses port vxif10_245_0_2: could not add network device vxif (File exists)",
        ),
        ([row(BFD_UP, ofport=-1)], "refused", "down", "no reason given"),
    ],
)
def test_without_a_tunnel(rows: list[Any], tunnel: str, state: str, said: str) -> None:
    """A tunnel that isn't there, or was refused, is the reason, whatever else is known."""
    (found,) = health.assess([NODE2], rows, {"node2": [result("...")]})

    assert (found.tunnel, found.state) == (tunnel, state)
    assert said in found.reason


def test_each_peer_has_its_own_row() -> None:
    """Every peer is judged by the tunnel to its own address, and rows of others are no one's."""
    node3 = Peer("node3", "10.245.0.3")

    found = health.assess([NODE2, node3], [row(BFD_UP)], {"node9": [result("...")]})

    assert [(one.peer, one.state, one.port) for one in found] == [
        ("node2", "up", "vxif10_245_0_2"),
        ("node3", "down", ""),
    ]


def test_worst_of_both_versions() -> None:
    """Of two probed addresses the worse one counts."""
    fine, lost = result("..."), result("..xxx")

    (found,) = health.assess([NODE2], [row(BFD_UP)], {"node2": [fine, lost]})

    assert (found.probe, found.state) == ("unreachable", "degraded")


@pytest.mark.parametrize(
    "pair",
    list(itertools.product(("up", "down", "unknown", "off"), (*probe.VERDICTS, "off"))),
)
def test_every_pair_is_judged(pair: tuple[str, str]) -> None:
    """Whatever BFD and the probe say, there is a state and a reason that is complete."""
    state, reason = health.JUDGEMENTS[pair]

    assert state in health.STATES
    assert "{" not in reason.format(peer="node2", address="10.244.2.1")


def test_transitions() -> None:
    """Only a peer whose state has changed is worth a line in the log."""
    up, degraded = judge(BFD_UP, "..."), judge(BFD_UP, "..xxx")

    assert health.transitions([up], [up]) == []
    assert health.transitions([up], [degraded]) == [degraded]
    assert health.transitions([], [up]) == [up]
    assert health.transitions([], [judge(NEVER)]) == []
    assert health.transitions([up], []) == []


def test_one_tunnel_to_all_nodes_serves_each() -> None:
    """In topology flow there is one tunnel, without BFD: the probe tells a peer's health."""
    to_all = row() | {"name": "vxifflow", "options": to_map({"remote_ip": "flow", "key": "7"})}
    node3 = Peer("node3", "10.245.0.3")

    found = health.assess([NODE2, node3], [to_all], {"node2": [result("..")]})

    assert [one.tunnel for one in found] == ["present", "present"]
    assert [one.state for one in found] == ["up", "unknown"]
