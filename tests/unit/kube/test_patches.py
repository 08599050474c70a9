# SPDX-License-Identifier: Apache-2.0
"""What is written to the own Node: the difference, and only that."""

from __future__ import annotations

from datetime import UTC, datetime

from linen.core.cluster import Peer
from linen.kube import nodes, patches

PEER = Peer("a", "10.0.0.1", ranges=["10.244.1.0/24"])
PUBLISHED = (
    ("linen-cni/pod-ranges", "10.244.1.0/24"),
    ("linen-cni/version", "1"),
    ("linen-cni/vtep", "10.0.0.1"),
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UP_MESSAGE = "The overlay of Linen works on this node"


def own(**fields: object) -> nodes.OwnNode:
    return nodes.OwnNode("a", "u", **fields)  # type: ignore[arg-type]


def test_a_first_publication() -> None:
    """A Node that says nothing yet gets all annotations."""
    assert patches.publication(own(), PEER) == {"metadata": {"annotations": dict(PUBLISHED)}}


def test_nothing_to_publish() -> None:
    """A Node that says all already gets no patch."""
    assert patches.publication(own(annotations=PUBLISHED), PEER) is None


def test_a_change() -> None:
    """A change of one annotation, and one that is no longer wanted, are all that is written."""
    present = (*PUBLISHED, ("linen-cni/master", "true"), ("linen-cni/newer", "x"))
    patch = patches.publication(own(annotations=present), Peer("a", "10.0.0.2", ranges=PEER.ranges))
    assert patch == {
        "metadata": {"annotations": {"linen-cni/vtep": "10.0.0.2", "linen-cni/master": None}}
    }


def test_a_withdrawal() -> None:
    """What was published is removed; what a newer version added is not ours to remove."""
    present = (*PUBLISHED, ("linen-cni/newer", "x"))
    assert patches.publication(own(annotations=present), None) == {
        "metadata": {"annotations": dict.fromkeys(dict(PUBLISHED))}
    }


def test_a_condition_that_changes() -> None:
    """A transition has the present time, in UTC."""
    before = nodes.Condition("False", "LinenIsUp", UP_MESSAGE, "2025-01-01T00:00:00Z")
    patch = patches.network_condition(own(condition=before), "no OVS", NOON)
    assert patch is not None
    assert patch["status"]["conditions"] == [
        {
            "type": "NetworkUnavailable",
            "status": "True",
            "reason": "LinenIsDown",
            "message": "no OVS",
            "lastHeartbeatTime": "2026-01-01T12:00:00Z",
            "lastTransitionTime": "2026-01-01T12:00:00Z",
        }
    ]


def test_a_condition_for_another_reason() -> None:
    """Another cause of the same state is written, and is no transition."""
    before = nodes.Condition("True", "LinenIsDown", "no OVS", "2025-01-01T00:00:00Z")
    patch = patches.network_condition(own(condition=before), "no address", NOON)
    assert patch is not None
    (condition,) = patch["status"]["conditions"]
    assert condition["message"] == "no address"
    assert condition["lastTransitionTime"] == "2025-01-01T00:00:00Z"


def test_a_condition_that_holds() -> None:
    """What the Node says already is not written again."""
    before = nodes.Condition("False", "LinenIsUp", UP_MESSAGE, "2025-01-01T00:00:00Z")
    assert patches.network_condition(own(condition=before), "", NOON) is None
