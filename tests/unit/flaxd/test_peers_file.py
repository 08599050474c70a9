# SPDX-License-Identifier: Apache-2.0
"""The file with the cluster's nodes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.core import cluster
from linen.flaxd import peers_file

NODE1 = {"name": "node1", "vtep": "10.245.2.2", "ranges": ["10.244.1.0/24"], "master": True}
NODE2 = {"name": "node2", "vtep": "10.245.2.3", "ranges": ["10.244.2.0/24"]}


def parse(*nodes: Any, **more: Any) -> cluster.View:
    """The view of node1."""
    document = {"clusterRange": "10.244.0.0/16", "nodes": list(nodes)} | more
    return peers_file.parse(json.dumps(document), "nodes.json", "node1")


def test_documented_form() -> None:
    """The form of the documentation gives this node, all nodes and the cluster's range."""
    view = parse(NODE1, NODE2)

    own = cluster.Peer("node1", "10.245.2.2", ranges=["10.244.1.0/24"], is_master=True)
    other = cluster.Peer("node2", "10.245.2.3", ranges=["10.244.2.0/24"])
    expected = cluster.View(own, {"node1": own, "node2": other}, cluster_range=["10.244.0.0/16"])
    assert expected == view


def test_yaml() -> None:
    """YAML works as JSON does."""
    text = "nodes:\n- name: node1\n  vtep: fd00::1\n"

    view = peers_file.parse(text, "nodes.yaml", "node1")

    assert view.own == cluster.Peer("node1", "fd00::1")


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([NODE2], "this node, node1, is not among them"),
        ([NODE1, NODE1], "node1 is there twice"),
        ([NODE1, NODE2 | {"vtep": "$(reboot)"}], "nodes[1]: vtep: '$(reboot)' is not an IPv4"),
        ([NODE1, {"vtep": "10.0.0.1"}], "nodes[1]: name is missing"),
        ([NODE1, NODE2 | {"vteps": 1}], "'vteps' is unknown"),
        ([NODE1, NODE2 | {"ranges": ["10.244.1.128/25"]}], "overlap"),
        ([NODE1, NODE2 | {"master": "no"}], "nodes[1]: master: must be true or false"),
        ([NODE1, NODE2 | {"ranges": ["fd00:10::%evil/64"]}], "has a zone"),
        ([NODE1, NODE2 | {"vtep": "127.0.0.1"}], "whoever looks at it"),
        ([NODE1, 5], "nodes[1]: must be an object, is 5"),
    ],
)
def test_wrong_nodes(nodes: list[Any], said: str) -> None:
    """A wrong file is refused whole, and the fault says where and what."""
    with pytest.raises(peers_file.PeersInvalid) as caught:
        parse(*nodes)

    assert said in "\n".join(caught.value.faults)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["nodes", "name", "vtep", "ranges", "clusterRange"]), inner
            )
        ),
    )
)
def test_any_document(document: Any) -> None:
    """Whatever the file holds, it is a view or a list of faults."""
    with contextlib.suppress(peers_file.PeersInvalid):
        peers_file.parse(json.dumps(document), "nodes.json", "node1")


def test_nodes_that_stay_the_same_are_not_parsed_again() -> None:
    """A node that was known is the same object, one that has changed in anything is not."""
    nodes: list[dict[str, Any]] = [
        {"name": "n1", "vtep": "10.0.0.1", "ranges": ["10.244.1.0/24"], "master": True},
        {"name": "n2", "vtep": "10.0.0.2"},
        {"name": "n3", "vtep": "10.0.0.3"},
    ]
    before = peers_file.parse(json.dumps({"nodes": nodes}), "file", "n1").nodes
    nodes[2]["vtep"] = "10.0.0.33"

    after = peers_file.parse(json.dumps({"nodes": nodes}), "file", "n1", before).nodes

    assert after["n1"] is before["n1"]
    assert after["n2"] is before["n2"]
    assert after["n3"].vtep == "10.0.0.33"


def test_a_known_node_does_not_hide_a_fault() -> None:
    """What is wrong with a node is told, however well it was known."""
    nodes: list[dict[str, Any]] = [{"name": "n1", "vtep": "10.0.0.1"}]
    known = peers_file.parse(json.dumps({"nodes": nodes}), "file", "n1").nodes

    for wrong in {"vtep": "10.0.0"}, {"ranges": ["10.244.1.1/24"]}, {"mastr": True}:
        with pytest.raises(peers_file.PeersInvalid):
            peers_file.parse(json.dumps({"nodes": [nodes[0] | wrong]}), "file", "n1", known)


def test_nesting_without_end_is_a_fault() -> None:
    """A file that nests deeper than Python goes is refused like any other that is none."""
    with pytest.raises(peers_file.PeersInvalid):
        peers_file.parse("[" * 100_000, "file", "n1")
