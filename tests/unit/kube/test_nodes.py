# SPDX-License-Identifier: Apache-2.0
"""Node objects into values, whatever they contain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from linen.core.cluster import Peer
from linen.kube import nodes

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
)
KEYS = some.sampled_from([nodes.VTEP, nodes.POD_RANGES, nodes.MASTER, nodes.VERSION, "other"])


def node(**annotations: Any) -> dict[str, Any]:
    named = {f"linen-cni/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"name": "a", "uid": "u", "annotations": named}}


def test_a_peer() -> None:
    """All four annotations make a peer, with its addresses in their usual notation."""
    found = node(
        vtep="2001:DB8:0::1", pod_ranges=" 10.244.1.0/24, fd00:0::/64,", master="true", version="1"
    )
    assert nodes.parse_record(found) == nodes.NodeRecord(
        "a",
        Peer("a", "2001:db8::1", ranges=["10.244.1.0/24", "fd00::/64"], is_master=True),
    )


def test_a_node_that_says_nothing() -> None:
    """A Node without our annotations is no peer yet, and nothing is wrong with it."""
    assert nodes.parse_record({"metadata": {"name": "a"}}) == nodes.NodeRecord("a")


@pytest.mark.parametrize(
    ("annotations", "fault"),
    [
        (
            {"vtep": "10.0.0.256"},
            'node a: linen-cni/vtep is not an IPv4 or IPv6 address: "10.0.0.256"',
        ),
        (
            {"vtep": "10.0.0.1", "pod_ranges": "10.244.1.1/24"},
            (
                "node a: linen-cni/pod-ranges is no list of CIDRs, such as 10.244.1.0/24: "
                '"10.244.1.1/24"'
            ),
        ),
        (
            {"vtep": "10.0.0.1", "pod_ranges": "::/0"},
            'node a: linen-cni/pod-ranges has a range of more than a /32, no node\'s part: "::/0"',
        ),
        (
            {"vtep": "x" * 70, "master": "on"},
            (
                f'node a: linen-cni/vtep is not an IPv4 or IPv6 address: "{"x" * 60}"…; '
                'linen-cni/master must be true or false: "on"'
            ),
        ),
        (
            {"vtep": "x" * 1025},
            "node a: linen-cni/vtep is longer than 1024 characters",
        ),
        (
            {"vtep": "10.0.0.1", "version": "1.0"},
            'node a: linen-cni/version must be a number from 1 on: "1.0"',
        ),
    ],
)
def test_faults(annotations: dict[str, str], fault: str) -> None:
    """A faulty Node is no peer; one sentence names the Node and every fault, shortly."""
    record = nodes.parse_record(node(**annotations))
    assert record is not None
    assert (record.peer, record.fault) == (None, fault)


@given(JSON | some.fixed_dictionaries({"metadata": JSON, "spec": JSON, "status": JSON}))
def test_no_json_is_too_strange(found: Any) -> None:
    """Any JSON at all is read without an exception."""
    nodes.parse_record(found)
    nodes.parse_own(found)


@given(some.dictionaries(KEYS, some.text() | some.integers()))
def test_no_annotation_is_too_strange(annotations: dict[str, Any]) -> None:
    """Any annotations make a peer, or a printable fault, or say nothing."""
    record = nodes.parse_record({"metadata": {"name": "a", "annotations": annotations}})
    assert record is not None
    assert not (record.peer and record.fault)
    assert record.fault.isprintable()


def test_the_own_node() -> None:
    """InternalIPs, one of each family, podCIDRs, our annotations and our condition are taken."""
    found = node(vtep="10.0.0.1")
    found["metadata"]["annotations"]["other"] = "x"
    found["spec"] = {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00::/64"]}
    found["status"] = {
        "addresses": [
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "10.0.0.300"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "10.0.0.2"},
            {"type": "InternalIP", "address": "2001:db8::1"},
        ],
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "NetworkUnavailable", "status": "True", "reason": "R", "message": "M"},
        ],
    }
    assert nodes.parse_own(found) == nodes.OwnNode(
        "a",
        "u",
        vteps=("10.0.0.1", "2001:db8::1"),
        pod_ranges=("10.244.1.0/24", "fd00::/64"),
        annotations=(("linen-cni/vtep", "10.0.0.1"),),
        condition=nodes.Condition("True", "R", "M", ""),
        faults=('InternalIP is not an IPv4 or IPv6 address: "10.0.0.300"',),
        told=Peer("a", "10.0.0.1"),
    )


def test_a_heartbeat_changes_no_record() -> None:
    """A condition's heartbeat time and a Node's images are no part of the record."""
    first, second = node(), node()
    condition = {"type": "NetworkUnavailable", "status": "False", "lastTransitionTime": "t"}
    first["status"] = {"conditions": [condition | {"lastHeartbeatTime": "1"}]}
    second["status"] = {"conditions": [condition | {"lastHeartbeatTime": "2"}], "images": [{}]}
    assert nodes.parse_own(first) == nodes.parse_own(second)


@pytest.mark.parametrize("vtep", ["10.0.0.1", "nonsense"])
def test_a_node_that_says_the_same(vtep: str) -> None:
    """A Node that still says word for word what it said, right or wrong, keeps its record."""
    before = nodes.parse_record(node(vtep=vtep, pod_ranges="10.244.1.0/24"))
    again = node(vtep=vtep, pod_ranges="10.244.1.0/24", other="1")
    assert nodes.parse_record(again, before) is before


@pytest.mark.parametrize(
    "news", [{"vtep": "10.0.0.2"}, {"pod_ranges": ""}, {"master": "true"}, {"version": "2"}]
)
def test_a_node_that_says_something_else(news: dict[str, str]) -> None:
    """A Node of which any annotation is another gets the record that it would have gotten anew."""
    said = {"vtep": "10.0.0.1", "pod_ranges": "10.244.1.0/24"}
    before = nodes.parse_record(node(**said))
    found = node(**said | news)
    assert nodes.parse_record(found, before) == nodes.parse_record(found) != before
