# SPDX-License-Identifier: Apache-2.0
"""A lab's description: addresses that fit the examples, any number of nodes, clear refusals."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest

from linen.lab.description import (
    MAX_NODES,
    POD_NETWORK,
    describe,
    parse_description,
    render_description,
)
from linen.lab.errors import LabError


def test_node_addresses() -> None:
    """Node i has the VTEP 10.245.2.(i+1), the pods 10.244.i.10 to .250, the gateway 10.244.i.1."""
    node = describe(3).node("node2")

    assert str(node.vtep) == "10.245.2.3/24"
    assert node.pod_range == (IPv4Address("10.244.2.10"), IPv4Address("10.244.2.250"))
    assert node.gateway == IPv4Address("10.244.2.1")


@pytest.mark.parametrize("count", [1, 250, 251, MAX_NODES])
def test_addresses_are_distinct(count: int) -> None:
    """However many nodes there are, each has a VTEP of its own, all in one underlay subnet."""
    nodes = describe(count).nodes

    assert len({node.vtep.ip for node in nodes}) == count
    assert len({node.vtep.network for node in nodes}) == 1
    assert all(node.pod_range[1] in POD_NETWORK for node in nodes)
    assert not any(node.vtep.ip in POD_NETWORK for node in nodes)


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
    lab = describe(2, "mesh", name="x", datapath="netdev", conflists=({"name": "a"}, {"name": "b"}))

    assert parse_description(json.loads(json.dumps(render_description(lab)))) == lab
