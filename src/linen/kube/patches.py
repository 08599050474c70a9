# SPDX-License-Identifier: Apache-2.0
"""What the daemon writes to its own Node, rendered as patches; None where nothing is to change.

Nothing is written that is already there: each write wakes every daemon of the cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linen.kube import nodes

if TYPE_CHECKING:
    from datetime import datetime

    from linen.core.cluster import Peer

# How Kubernetes itself words it, in its route controller and in other network plugins.
UP, DOWN = "LinenIsUp", "LinenIsDown"
LONGEST_MESSAGE = 1024  # characters

# The merge patch of a Node, and the strategic one of its status, that leave nothing of ours.
_ANNOTATIONS = (nodes.VTEP, nodes.POD_RANGES, nodes.MASTER, nodes.VERSION)
NO_ANNOTATIONS = {"metadata": {"annotations": dict.fromkeys(_ANNOTATIONS)}}
NO_CONDITION = {"status": {"conditions": [{"type": nodes.NETWORK_UNAVAILABLE, "$patch": "delete"}]}}


def publication(own: nodes.OwnNode, peer: Peer | None) -> dict[str, Any] | None:
    """The merge patch by which the Node tells that it is `peer`; None for the peer withdraws it.

    Annotations of ours that a newer version of this program may have made are left alone.
    """
    wanted: dict[str, str | None] = dict.fromkeys(_ANNOTATIONS)
    if peer is not None:
        wanted[nodes.VTEP] = peer.vtep
        wanted[nodes.POD_RANGES] = ",".join(peer.ranges) or None
        wanted[nodes.MASTER] = "true" if peer.is_master else None
        wanted[nodes.VERSION] = str(nodes.FORMAT)
    present = dict(own.annotations)
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    return {"metadata": {"annotations": changed}} if changed else None


def network_condition(own: nodes.OwnNode, problem: str, now: datetime) -> dict[str, Any] | None:
    """The strategic merge patch of the Node's status that says whether its network works.

    `problem`: why it does not, in one sentence; empty when it does. `now`: with a time zone.
    """
    status, reason = ("True", DOWN) if problem else ("False", UP)
    message = (problem or "The overlay of Linen works on this node")[:LONGEST_MESSAGE]
    before = own.condition
    if before is not None and (before.status, before.reason, before.message) == (
        status,
        reason,
        message,
    ):
        return None
    time = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    is_same = before is not None and before.status == status and before.since
    condition = {
        "type": nodes.NETWORK_UNAVAILABLE,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": time,
        "lastTransitionTime": before.since if before is not None and is_same else time,
    }
    return {"status": {"conditions": [condition]}}


def without_condition(own: nodes.OwnNode) -> dict[str, Any] | None:
    """The strategic merge patch that removes our condition; None where there is none of ours.

    One that stayed would tell the scheduler of our network whatever network comes next.
    """
    if own.condition is None or own.condition.reason not in {UP, DOWN}:
        return None
    return NO_CONDITION
