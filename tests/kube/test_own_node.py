# SPDX-License-Identifier: Apache-2.0
"""A daemon and its own Node: what it learns from it, publishes on it, and says about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from linen.core.cluster import Peer
from linen.kube import client, nodes, patches
from support.kube_watches import run, watching, watching_own

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from support.control_plane import ControlPlane
    from support.kube_watches import Watched

FLAXD = "linen-system/flaxd"
NODE1 = Peer("node1", "192.0.2.1", ranges=["10.244.1.0/24", "fd00:1::/64"], is_master=True)


@pytest.fixture
def kubeconfig(plane: ControlPlane, tmp_path: Path) -> Path:
    """The daemon's on node1, which has neither address nor pod range yet."""
    plane.add_node("node1", annotations={"other": "kept"})
    token = tmp_path / "token"
    token.write_text(plane.request_token(FLAXD, "node1"))
    return plane.token_kubeconfig(token)


@pytest.fixture
def may_tell(plane: ControlPlane, kubeconfig: Path) -> Path:
    """As `kubeconfig`, of a node1 with the pod ranges and the label that make `NODE1` the truth."""
    spec = {"podCIDR": NODE1.ranges[0], "podCIDRs": list(NODE1.ranges)}
    plane.patch_node("node1", {"spec": spec, "metadata": {"labels": {nodes.MASTER_LABEL: "true"}}})
    return kubeconfig


async def publish(watched: Watched[nodes.OwnNode], peer: Peer | None) -> bool:
    """Whether anything had to be written so that the Node tells that it is `peer`."""
    patch = patches.publication(watched.records["node1"], peer)
    if patch is not None:
        revision = watched.revision
        await watched.client.patch("/api/v1/nodes/node1", patch, client.MERGE_PATCH)
        await watched.until(lambda: watched.revision > revision)
    return patch is not None


def test_addresses_and_ranges_that_come_late(plane: ControlPlane, kubeconfig: Path) -> None:
    """The Node's InternalIPs and podCIDRs are learned as soon as they are there, and changed."""

    async def body() -> None:
        async with watching_own(kubeconfig, "node1") as watched:
            own = watched.records["node1"]
            assert (own.vteps, own.pod_ranges, own.faults) == ((), (), ())

            plane.set_addresses("node1", ["192.0.2.1", "2001:db8::1"])
            await watched.until(lambda: watched.records["node1"].vteps)
            assert watched.records["node1"].vteps == ("192.0.2.1", "2001:db8::1")

            ranges = ["10.244.1.0/24", "fd00:1::/64"]
            plane.patch_node("node1", {"spec": {"podCIDR": ranges[0], "podCIDRs": ranges}})
            await watched.until(lambda: watched.records["node1"].pod_ranges)
            assert watched.records["node1"].pod_ranges == tuple(ranges)

            plane.set_addresses("node1", ["192.0.2.77"])
            await watched.until(lambda: watched.records["node1"].vteps == ("192.0.2.77",))

    run(body())


def test_what_is_published_is_what_others_read(plane: ControlPlane, may_tell: Path) -> None:
    """What a daemon publishes is what the others read, and nothing else of its Node changes."""

    async def body() -> None:
        async with (
            watching_own(may_tell, "node1") as own,
            watching(plane.admin_kubeconfig()) as cluster,
        ):
            assert await publish(own, NODE1)
            await cluster.until(lambda: cluster.records["node1"].peer)
            assert cluster.records["node1"].peer == NODE1
            assert not await publish(own, NODE1)

            leaf = Peer("node1", "192.0.2.2")
            assert await publish(own, leaf)
            await cluster.until(lambda: cluster.records["node1"].peer == leaf)
            assert plane.node("node1")["metadata"]["annotations"] == {
                "other": "kept",
                "linen-cni/version": "1",
                "linen-cni/vtep": "192.0.2.2",
            }

            assert await publish(own, None)
            await cluster.until(lambda: cluster.records["node1"].peer is None)
            assert plane.node("node1")["metadata"]["annotations"] == {"other": "kept"}

    run(body())


def test_two_daemons_of_one_node(may_tell: Path) -> None:
    """Where a daemon is replaced by another, the second finds nothing to write."""

    async def body() -> None:
        async with (
            watching_own(may_tell, "node1") as old,
            watching_own(may_tell, "node1") as new,
        ):
            assert await publish(old, NODE1)
            await new.until(lambda: new.records["node1"].annotations)
            revision = new.revision
            assert not await publish(new, NODE1)
            assert not await publish(old, NODE1)
            assert new.revision == revision

    run(body())


def test_the_condition(plane: ControlPlane, kubeconfig: Path) -> None:
    """NetworkUnavailable is set, cleared, and written only when it changes; others stay."""
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
    plane.patch_node("node1", {"status": {"conditions": [ready]}}, "status")

    async def say(watched: Watched[nodes.OwnNode], problem: str) -> bool:
        patch = patches.network_condition(watched.records["node1"], problem, datetime.now(UTC))
        if patch is not None:
            path = "/api/v1/nodes/node1/status"
            before = watched.records["node1"]
            await watched.client.patch(path, patch, client.STRATEGIC_PATCH)
            await watched.until(lambda: watched.records["node1"] != before)
        return patch is not None

    async def body() -> None:
        async with watching_own(kubeconfig, "node1") as watched:
            assert await say(watched, "ovs-vswitchd does not run")
            found = condition_of(plane)
            assert (found["status"], found["reason"]) == ("True", "LinenIsDown")
            assert found["message"] == "ovs-vswitchd does not run"
            assert not await say(watched, "ovs-vswitchd does not run")

            assert await say(watched, "")
            found = condition_of(plane)
            assert (found["status"], found["reason"]) == ("False", "LinenIsUp")
            assert not await say(watched, "")
            assert [each["type"] for each in plane.node("node1")["status"]["conditions"]] == [
                "NetworkUnavailable",
                "Ready",
            ]

    run(body())


def condition_of(plane: ControlPlane) -> dict[str, Any]:
    (found,) = (
        condition
        for condition in plane.node("node1")["status"]["conditions"]
        if condition["type"] == "NetworkUnavailable"
    )
    assert isinstance(found, dict)
    return found
