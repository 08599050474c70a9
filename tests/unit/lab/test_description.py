# SPDX-License-Identifier: Apache-2.0
"""A lab's description: addresses that fit the examples, any number of nodes, clear refusals."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from linen.lab.description import (
    MAX_NODES,
    POD_FAMILIES,
    POD_NETWORK,
    POD_NETWORK_IPV6,
    describe,
    parse_description,
    render_description,
)
from linen.lab.errors import LabError

if TYPE_CHECKING:
    from linen.lab.description import Conflist, PodFamily, VtepFamily


def test_node_addresses() -> None:
    """Node i has the VTEP 10.245.2.(i+1), the pods 10.244.i.10 to .250, the gateway 10.244.i.1."""
    node = describe(3).node("node2")
    pods = node.pod_range(4)

    assert str(node.vtep) == "10.245.2.3/24"
    assert (pods.first, pods.last) == (IPv4Address("10.244.2.10"), IPv4Address("10.244.2.250"))
    assert pods.gateway == IPv4Address("10.244.2.1")


def test_node_addresses_of_ipv6() -> None:
    """Node i has the VTEP fd00:10:245::(i+1), pods from fd00:10:244:i::a on, its gateway at ::1."""
    node = describe(20, vtep_family="ipv6").node("node18")
    pods = node.pod_range(6)

    assert str(node.vtep) == "fd00:10:245::13/64"
    assert pods.first == IPv6Address("fd00:10:244:12::a")
    assert pods.last == IPv6Address("fd00:10:244:12::fa")
    assert pods.gateway == IPv6Address("fd00:10:244:12::1")


@pytest.mark.parametrize("count", [1, 250, 251, MAX_NODES])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_addresses_are_distinct(count: int, family: VtepFamily) -> None:
    """However many nodes there are, each has a VTEP of its own, all in one underlay subnet."""
    nodes = describe(count, vtep_family=family).nodes
    parts = {node.pod_range(version).part for node in nodes for version in (4, 6)}

    assert len({node.vtep.ip for node in nodes}) == count
    assert len({node.vtep.network for node in nodes}) == 1
    assert len(parts) == 2 * count
    assert all(node.pod_range(4).last in POD_NETWORK for node in nodes)
    assert all(node.pod_range(6).last in POD_NETWORK_IPV6 for node in nodes)
    assert not any(node.vtep.ip in POD_NETWORK for node in nodes)
    assert not any(node.vtep.ip in POD_NETWORK_IPV6 for node in nodes)


@pytest.mark.parametrize(("family", "versions"), POD_FAMILIES.items())
def test_families_of_pods(family: PodFamily, versions: tuple[int, ...]) -> None:
    """Pods have a range for each of their IP versions, IPv4 first."""
    lab = describe(2, pod_family=family)

    ranges = lab.pod_ranges(lab.node("node2"))

    assert tuple(one.part.version for one in ranges) == versions


def test_given_conflists_say_which_addresses_pods_have() -> None:
    """A family of pods beside given conflists is refused, since it would change nothing."""
    with pytest.raises(LabError, match=r"pod family dual: .* in the conflists"):
        describe(1, conflists=({"name": "n", "plugins": []},), pod_family="dual")


def test_star() -> None:
    """In a star the first node has a tunnel to each other node, the others to it alone."""
    lab = describe(3, "star")

    ends = [[str(end) for end in lab.tunnel_ends(node)] for node in lab.nodes]

    assert ends == [["10.245.2.3", "10.245.2.4"], ["10.245.2.2"], ["10.245.2.2"]]


def test_mesh() -> None:
    """In a mesh each node has a tunnel to each other node."""
    lab = describe(3, "mesh")

    ends = [[str(end) for end in lab.tunnel_ends(node)] for node in lab.nodes]

    assert ends == [
        ["10.245.2.3", "10.245.2.4"],
        ["10.245.2.2", "10.245.2.4"],
        ["10.245.2.2", "10.245.2.3"],
    ]


@pytest.mark.parametrize("count", [0, -1, MAX_NODES + 1])
def test_impossible_number_of_nodes(count: int) -> None:
    """A number of nodes that cannot be had is refused with what can."""
    with pytest.raises(LabError, match=rf"1 to {MAX_NODES} nodes, not {count}"):
        describe(count)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "A", "x" * 41, "a b", "a\n"])
def test_impossible_name(name: str) -> None:
    """A name that could be mistaken for a path or an option is refused."""
    with pytest.raises(LabError, match="lab name"):
        describe(name=name)


def test_too_few_conflists() -> None:
    """There must be a conflist for every node, if any are given."""
    with pytest.raises(LabError, match="3 nodes need 3 conflists, there are 1"):
        describe(3, conflists=({"name": "n", "plugins": []},))


def test_unknown_node() -> None:
    """Asking for a node that does not exist names those that do."""
    with pytest.raises(LabError, match="no node 'node9'; its nodes are node1 to node2"):
        describe(2).node("node9")


def test_description_survives_storage() -> None:
    """A description can be written as JSON and read back."""
    given: tuple[Conflist, ...] = ({"name": "a"}, {"name": "b"})
    plain = describe(2, "mesh", name="x", datapath="netdev", conflists=given)
    modern = describe(2, pod_family="dual", vtep_family="ipv6")

    for lab in plain, modern:
        assert parse_description(json.loads(json.dumps(render_description(lab)))) == lab


def test_description_of_an_earlier_version() -> None:
    """A lab that was started before there were families of pods has pods of IPv4."""
    values = render_description(describe(2))
    del values["pod_family"]

    assert parse_description(values) == describe(2)
