# SPDX-License-Identifier: Apache-2.0
"""Which node gets which range, when nodes claim what isn't theirs."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.core.cluster import Peer
from linen.core.routes import Route, Routes, parse_range

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = ("10.244.0.0/16", "fd00:10:244::/48")
OWN = Peer("node5", "10.245.2.6", ranges=["10.244.5.0/24"])


def peer(name: str, *ranges: str) -> Peer:
    return Peer(name, f"10.245.9.{len(name)}", ranges=ranges)


def granted(*peers: Peer) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The ranges that each of these gets, and the faults."""
    routes = Routes(OWN, WHOLE)
    routes.update({one.name: one for one in peers}, [one.name for one in peers])
    return {name: route.ranges for name, route in routes.found.items()}, routes.faults()


def test_each_peer_has_its_own_ranges() -> None:
    """A peer keeps all its ranges, of both IP versions, where nobody else claims them."""
    ranges = ("10.244.1.0/24", "10.244.8.0/25", "fd00:10:244:1::/64")
    routes = Routes(OWN, WHOLE)

    changes = routes.update({"node1": Peer("node1", "fd00::2", ranges=ranges)}, ["node1"])

    assert changes == [(None, Route("node1", "fd00::2", ranges))]
    assert routes.faults() == []


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param("10.244.1.0/24", id="the same"),
        pytest.param("10.244.1.128/25", id="a part"),
        pytest.param("10.244.1.9/32", id="one address"),
        pytest.param("10.244.0.0/22", id="more than all"),
    ],
)
def test_a_range_that_another_has_is_refused_and_told(claim: str) -> None:
    """A node gets nothing of what another has, and the sentence names both and the range."""
    found, faults = granted(peer("node1", "10.244.1.0/24"), peer("node2", claim, "10.244.2.0/24"))

    assert found == {"node1": ("10.244.1.0/24",), "node2": ("10.244.2.0/24",)}
    (fault,) = faults
    assert all(word in fault for word in (claim, "node1", "node2"))


def test_nobody_gets_what_is_ours() -> None:
    """A node that claims this node's own range gets nothing of it, whatever its name."""
    found, faults = granted(peer("a", "10.244.0.0/16"), peer("b", "10.244.5.7/32"))

    assert found == {"a": (), "b": ()}
    assert ["node5" in fault for fault in faults] == [True, True]


@pytest.mark.parametrize("claim", ["10.245.0.0/16", "0.0.0.0/0", "10.244.0.0/15", "2001:db8::/64"])
def test_a_range_outside_of_the_pod_network_is_refused(claim: str) -> None:
    """No node draws traffic to itself that isn't the pods'."""
    found, faults = granted(peer("node1", claim))

    assert found == {"node1": ()}
    assert claim in faults[0]


def test_a_range_of_ones_own_twice_is_refused_once() -> None:
    """A node that names a range twice has it once."""
    assert granted(peer("node1", "10.244.1.0/24", "10.244.1.0/24"))[0] == {
        "node1": ("10.244.1.0/24",)
    }


NETWORKS = st.builds(
    lambda number, bits: str(ipaddress.ip_network((0x0AF40000 | number, bits), strict=False)),
    st.integers(0, 0xFFFF),
    st.integers(16, 32),
)


@given(st.lists(st.lists(NETWORKS, max_size=3), max_size=12))
def test_no_address_ever_has_two_nodes(claims: Sequence[Sequence[str]]) -> None:
    """Whatever nodes claim, no two ranges that are granted overlap, nor one with our own."""
    found, faults = granted(*(peer(f"p{i:02}", *ranges) for i, ranges in enumerate(claims)))

    held = [cidr for ranges in (*found.values(), OWN.ranges) for cidr in ranges]
    kept = [ipaddress.ip_network(cidr) for cidr in held]
    for index, one in enumerate(kept):
        assert not any(one.overlaps(other) for other in kept[index + 1 :])
    assert sum(map(len, claims)) == len(kept) - 1 + len(faults)


@given(st.ip_addresses(), st.integers(0, 128))
def test_ranges_are_read_as_ipaddress_reads_them(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    """First and last address are those of the standard library."""
    network = ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False)

    assert parse_range(str(network)) == (
        address.max_prefixlen // 8,
        int(network.network_address),
        int(network.broadcast_address),
    )


# --- node by node ---

NAMES = ["node1", "node3", "node7", "zone"]  # OWN is node5
PEERS = st.builds(
    lambda vtep, ranges: (f"10.245.9.{vtep}", tuple(ranges)),
    st.integers(0, 1),
    st.lists(NETWORKS, max_size=3),
)
STEPS = st.lists(st.dictionaries(st.sampled_from(NAMES), st.none() | PEERS, min_size=1))


@given(STEPS)
def test_routes_step_by_step_are_those_from_nothing(
    steps: Sequence[dict[str, tuple[str, tuple[str, ...]] | None]],
) -> None:
    """However nodes came, went and changed, routes and faults are those of the nodes there are."""
    routes, known, followed = Routes(OWN, WHOLE), dict[str, Peer](), dict[str, Route]()
    for step in steps:
        for name, what in step.items():
            known.pop(name, None)
            if what is not None:
                known[name] = Peer(name, what[0], ranges=what[1])
        for before, now in routes.update(known, step):
            if before is not None:
                assert followed.pop(before.name) == before
            if now is not None:
                followed[now.name] = now

    assert routes.found == followed == worked_out(known)
    anew = Routes(OWN, WHOLE)
    anew.update(known, known)
    assert (routes.found, routes.faults()) == (anew.found, anew.faults())


def worked_out(peers: dict[str, Peer]) -> dict[str, Route]:
    """The routes by the rule itself: by name, each range that overlaps with none before it."""
    held = [ipaddress.ip_network(cidr) for cidr in OWN.ranges]
    found = {}
    for name, one in sorted(peers.items()):
        granted = []
        for cidr in one.ranges:
            network = ipaddress.ip_network(cidr)
            if not any(network.overlaps(other) for other in held):
                granted.append(cidr)
                held.append(network)
        found[name] = Route(name, one.vtep, granted)
    return found
