# SPDX-License-Identifier: Apache-2.0
"""Which peers a node has a tunnel to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.core import cluster

if TYPE_CHECKING:
    from collections.abc import Sequence


def nodes(count: int, *masters: str) -> dict[str, cluster.Peer]:
    """Nodes n1, n2…, some of them masters."""
    names = [f"n{i}" for i in range(1, count + 1)]
    return {
        name: cluster.Peer(name, f"10.0.{i >> 8}.{i & 255}", is_master=name in masters)
        for i, name in enumerate(names, 1)
    }


def neighbours(own: str, known: dict[str, cluster.Peer], topology: str) -> cluster.Neighbours:
    """Those of one of these nodes."""
    roster = cluster.Roster(cluster.View(known[own], known))
    return cluster.neighbours(known[own], roster, topology)


@pytest.mark.parametrize(
    ("own", "topology", "peers"),
    [
        ("n1", "mesh", ["n2", "n3", "n4"]),
        ("n2", "mesh", ["n1", "n3", "n4"]),
        ("n1", "star", ["n2", "n3", "n4"]),
        ("n2", "star", ["n1"]),
    ],
)
def test_topologies(own: str, topology: str, peers: list[str]) -> None:
    """In a mesh all are connected, in a star each to the masters and the masters to all."""
    known = nodes(4, "n1")

    found = neighbours(own, known, topology)

    assert peers == list(found.peers)
    assert found.faults == []


def test_star_without_master() -> None:
    """A leaf that knows no master says so instead of being silently alone."""
    known = nodes(2)

    found = neighbours("n2", known, "star")

    assert found.peers == {}
    assert "no other node is a master" in found.faults[0]


def test_stolen_address() -> None:
    """A node that claims another's address costs itself its tunnel, and nobody else's."""
    known = nodes(3)
    known["thief"] = cluster.Peer("thief", known["n2"].vtep)
    known["own-thief"] = cluster.Peer("own-thief", known["n1"].vtep)

    found = neighbours("n1", known, "mesh")

    assert list(found.peers) == ["n2", "n3"]
    assert sorted(fault.split()[1] for fault in found.faults) == ["own-thief", "thief"]


@pytest.mark.parametrize(
    ("own", "holder", "wrong"),
    [("n1", None, ["n2", "n9"]), ("n2", "n1", ["n9"]), ("n3", None, ["n2", "n9"])],
)
def test_who_loses_its_address(own: str, holder: str | None, wrong: list[str]) -> None:
    """Of two nodes with one address the second knows that the first by name keeps it.

    It does not call that other node the wrong one, as it does one that comes after it.
    """
    known = nodes(3)
    known["n2"] = cluster.Peer("n2", known["n1"].vtep)
    known["n9"] = cluster.Peer("n9", known["n1"].vtep)
    roster = cluster.Roster(cluster.View(known[own], known))

    assert roster.find_stronger_claim() == holder
    assert [fault.split()[1] for fault in roster.faults()] == wrong


@pytest.mark.parametrize(
    ("own", "reached", "said"),
    [
        ("n1", ["n2"], "no tunnel to node n3, n4, n5, n6, n7 and 2 more: VTEP addresses there are"),
        ("n3", ["n4", "n5", "n6", "n7", "n8", "n9"], "no tunnel to node n1, n2: VTEP addresses"),
    ],
)
@pytest.mark.parametrize("topology", ["mesh", "flow"])
def test_two_ip_versions(own: str, reached: list[str], said: str, topology: str) -> None:
    """A node has tunnels to those of its own IP version alone, and one sentence names the rest."""
    known = nodes(2) | {f"n{i}": cluster.Peer(f"n{i}", f"fd00::{i}") for i in range(3, 10)}

    found = neighbours(own, known, topology)

    assert sorted(found.peers) == reached
    (fault,) = found.faults
    assert fault.startswith(said)


NEAR = (
    "500 other nodes or more are many for a {}: beyond 750 tunnels Open vSwitch no longer delivers"
    " broadcasts, and so no ARP;"
)
BEYOND = (
    "more than 750 other nodes are too many for a {}: beyond 750 tunnels Open vSwitch no longer"
    " delivers broadcasts, and so no ARP, so the last by name get no tunnel;"
)


@pytest.mark.parametrize(
    ("tunnels", "said"),
    [(499, None), (500, NEAR), (750, NEAR), (751, BEYOND), (800, BEYOND)],
)
@pytest.mark.parametrize("topology", ["mesh", "star"])
def test_limit_of_flooding(topology: str, tunnels: int, said: str | None) -> None:
    """A mesh, or a star's master, warns from 500 tunnels on and makes no more than 750.

    It says why, and that topology flow is the cure, in the same words whatever the number: each
    sentence is an Event.
    """
    known = nodes(tunnels + 1, "n1")

    found = neighbours("n1", known, topology)

    assert len(found.peers) == min(tunnels, 750)
    assert bool(said) == bool(found.faults)
    for fault in found.faults:
        assert said is not None
        assert fault.startswith(f"{said.format(topology)} use topology flow")


def test_who_is_beyond_the_limit() -> None:
    """Beyond the limit the last by name get no tunnel, and that is said."""
    known = nodes(761)

    found = neighbours("n1", known, "mesh")

    names = sorted(known.keys() - {"n1"})
    assert list(found.peers) == names[:750]
    assert "the last by name get no tunnel" in found.faults[0]


def test_limit_of_flooding_over_ipv6() -> None:
    """Over IPv6 fewer copies of a broadcast leave Open vSwitch: 600 tunnels at most."""
    known = {f"n{i}": cluster.Peer(f"n{i}", f"fd00::{i:x}") for i in range(1, 702)}

    found = neighbours("n1", known, "mesh")

    assert len(found.peers) == 600
    assert "beyond 600 tunnels" in found.faults[0]


def test_no_limit_in_topology_flow() -> None:
    """Where nothing is flooded there may be ten thousand nodes."""
    known = nodes(10_000)

    found = neighbours("n1", known, "flow")

    assert (len(found.peers), found.faults) == (9_999, [])


# --- node by node ---

NAMES = ["n1", "n2", "n4", "n5"]
VTEPS = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"]
OWN = cluster.Peer("n3", VTEPS[0])
CHANGES = st.dictionaries(st.sampled_from(NAMES), st.none() | st.sampled_from(VTEPS), min_size=1)
OWNS = [OWN] * 12 + [cluster.Peer("n3", VTEPS[1]), cluster.Peer("n3", VTEPS[2]), None]
STEPS = st.lists(st.tuples(CHANGES, st.sampled_from(OWNS), st.booleans()))


@given(STEPS)
def test_a_roster_step_by_step_is_one_from_nothing(
    steps: Sequence[tuple[dict[str, str | None], cluster.Peer | None, bool]],
) -> None:
    """However nodes came, went and changed, peers and faults are those of the nodes there are.

    Who follows the roster hears of each peer that is another now, and views that are the same are
    no news, whether the names of those who changed are told or not.
    """
    roster = cluster.Roster()
    news = roster.follow()
    known: dict[str, cluster.Peer] = {}
    for changes, own, names_are_told in steps:
        before, before_peers = roster.view, dict(roster.peers)
        for name, vtep in changes.items():
            known.pop(name, None)
            if vtep is not None:
                known[name] = cluster.Peer(name, vtep)
        view = cluster.View(own, known | ({own.name: own} if own is not None else {}))

        is_other = roster.learn(view, {*changes, OWN.name} if names_are_told else None)

        assert is_other == (view != (before or cluster.View(None, {})))
        names = roster.peers.keys() | before_peers.keys()
        assert news == {n for n in names if roster.peers.get(n) != before_peers.get(n)}
        news.clear()
        anew = cluster.Roster(view)
        assert (roster.peers, roster.faults()) == (anew.peers, anew.faults())
        assert roster.peers == by_the_rule(view)


def by_the_rule(view: cluster.View) -> dict[str, cluster.Peer]:
    """The peers with an address of one's own version that none before them has, nor this node."""
    own = view.own
    if own is None:
        return {}
    taken, found = {own.vtep}, {}
    for name, peer in sorted(view.nodes.items()):
        fits = (":" in peer.vtep) == (":" in own.vtep)
        if name != own.name and fits and peer.vtep not in taken:
            taken.add(peer.vtep)
            found[name] = peer
    return found
