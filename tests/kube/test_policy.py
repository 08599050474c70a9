# SPDX-License-Identifier: Apache-2.0
"""What a daemon's token can do, with deploy/base applied: its own Node's network, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.control_plane import ControlPlane

FLAXD = "linen-system/flaxd"
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
RANGES = "linen-cni/pod-ranges"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}


@pytest.fixture
def daemon(plane: ControlPlane) -> Iterator[httpx2.Client]:
    """HTTP with the token of the daemon on node1; node1 and node2 are there."""
    for name in ("node1", "node2"):
        plane.add_node(
            name, addresses=["192.0.2.1"], annotations={"other": "kept"}, pod_cidrs=["10.9.0.0/24"]
        )
        plane.patch_node(name, {"metadata": {"labels": {"zone": "a"}}})
        plane.patch_node(name, {"status": {"conditions": [READY]}}, "status")
    token = plane.request_token(FLAXD, "node1")
    with httpx2.Client(
        base_url=plane.url,
        verify=plane.tls_context(),
        trust_env=False,
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        yield client


def patched(
    daemon: httpx2.Client, path: str, patch: dict[str, Any], headers: dict[str, str] = MERGE
) -> httpx2.Response:
    return daemon.patch(f"/api/v1/nodes/{path}", json=patch, headers=headers)


def condition(kind: str, status: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status, "reason": "R"}]}}


def test_its_own_annotations(daemon: httpx2.Client) -> None:
    """A daemon sets, changes and removes annotations of ours on its own Node."""
    for value in ("10.0.0.1", "10.0.0.2", None):
        patch = {"metadata": {"annotations": {"linen-cni/vtep": value}}}
        answer = patched(daemon, "node1", patch)
        assert answer.status_code == 200, answer.text
        assert answer.json()["metadata"]["annotations"].get("linen-cni/vtep") == value


def test_its_own_ranges_and_place(plane: ControlPlane, daemon: httpx2.Client) -> None:
    """A daemon tells what Kubernetes gave its Node, and calls it a master if it has the label."""
    plane.patch_node("node1", {"metadata": {"labels": {"linen-cni/master": "true"}}})
    told = {"linen-cni/pod-ranges": "10.9.0.0/24", "linen-cni/master": "true"}
    answer = patched(daemon, "node1", {"metadata": {"annotations": told}})
    assert answer.status_code == 200, answer.text

    # What was right when it was told keeps nothing else from being changed, or from being taken
    # back.
    plane.patch_node("node1", {"metadata": {"labels": {"linen-cni/master": None}}})
    answer = patched(daemon, "node1/status", condition("NetworkUnavailable", "True"), STRATEGIC)
    assert answer.status_code == 200, answer.text
    answer = patched(daemon, "node1", {"metadata": {"annotations": dict.fromkeys(told)}})
    assert answer.status_code == 200, answer.text


def test_its_own_condition(daemon: httpx2.Client) -> None:
    """A daemon sets, changes the condition NetworkUnavailable of its own Node."""
    for status in ("True", "False"):
        patch = condition("NetworkUnavailable", status)
        answer = patched(daemon, "node1/status", patch, STRATEGIC)
        assert answer.status_code == 200, answer.text
        found = {each["type"]: each["status"] for each in answer.json()["status"]["conditions"]}
        assert found == {"Ready": "True", "NetworkUnavailable": status}


@pytest.mark.parametrize(
    ("path", "patch", "why"),
    [
        ("node2", {"metadata": {"annotations": {"linen-cni/vtep": "10.0.0.1"}}}, "only the Node"),
        ("node2/status", condition("NetworkUnavailable", "True"), "only the Node"),
        ("node1", {"metadata": {"annotations": {"other": "changed"}}}, "only annotations"),
        ("node1", {"metadata": {"annotations": {"other": None}}}, "only annotations"),
        ("node1", {"metadata": {"annotations": {"new": "x"}}}, "only annotations"),
        ("node1", {"metadata": {"annotations": {"linen-cni.io/x": "x"}}}, "only annotations"),
        ("node1/status", {"metadata": {"annotations": {"new": "x"}}}, "only annotations"),
        ("node1", {"metadata": {"annotations": {RANGES: "10.9.1.0/24"}}}, "own podCIDRs"),
        ("node1", {"metadata": {"annotations": {RANGES: "10.9.0.0/16"}}}, "own podCIDRs"),
        ("node1", {"metadata": {"annotations": {RANGES: "10.9.0.0/24,fd00::/64"}}}, "own podCIDRs"),
        ("node1", {"metadata": {"annotations": {"linen-cni/master": "true"}}}, "has the label"),
        ("node1", {"metadata": {"labels": {"zone": "b"}}}, "labels"),
        ("node1", {"metadata": {"labels": {"zone": None}}}, "labels"),
        ("node1", {"metadata": {"labels": {"new": "x"}}}, "labels"),
        ("node1/status", {"metadata": {"labels": {"new": "x"}}}, "labels"),
        ("node1", {"metadata": {"finalizers": ["example.org/stay"]}}, "labels"),
        (
            "node1",
            {
                "metadata": {
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}
                    ]
                }
            },
            "labels",
        ),
        ("node1", {"spec": {"unschedulable": True}}, "the spec"),
        ("node1", {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}, "the spec"),
        ("node1", {"spec": {"providerID": "cloud://x"}}, "the spec"),
        ("node1/status", condition("Ready", "False"), "only the condition"),
        ("node1/status", condition("New", "True"), "only the condition"),
        ("node1/status", {"status": {"addresses": []}}, "only the condition"),
        ("node1/status", {"status": {"capacity": {"cpu": "4"}}}, "only the condition"),
        ("node1/status", {"status": {"nodeInfo": {"kernelVersion": "9"}}}, "only the condition"),
    ],
)
def test_what_is_refused(
    plane: ControlPlane, daemon: httpx2.Client, path: str, patch: dict[str, Any], why: str
) -> None:
    """Other Nodes, and all else of its own, are out of a daemon's reach."""
    name = path.partition("/")[0]
    before = plane.node(name)
    headers = STRATEGIC if "conditions" in patch.get("status", {}) else MERGE
    answer = patched(daemon, path, patch, headers)
    assert answer.status_code == 422, answer.text
    assert "linen-flaxd-nodes" in answer.json()["message"]
    assert why in answer.json()["message"]
    assert plane.node(name) == before


def test_a_token_without_a_node(plane: ControlPlane, daemon: httpx2.Client) -> None:
    """A token of the same account that is bound to no Node can change none."""
    path = "/api/v1/namespaces/linen-system/serviceaccounts/flaxd/token"
    token = plane.request("POST", path, {"spec": {}})["status"]["token"]
    daemon.headers["Authorization"] = f"Bearer {token}"
    patch = {"metadata": {"annotations": {"linen-cni/vtep": "10.0.0.1"}}}
    answer = patched(daemon, "node1", patch)
    assert answer.status_code == 422, answer.text
    assert "only the Node" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/v1/nodes/node1"),
        ("POST", "/api/v1/nodes"),
        ("PUT", "/api/v1/nodes/node1"),
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        ("GET", "/api/v1/namespaces/linen-system/configmaps"),
        ("GET", EVENTS),
        ("GET", "/apis/apps/v1/daemonsets"),
    ],
)
def test_what_its_role_lacks(daemon: httpx2.Client, method: str, path: str) -> None:
    """A daemon's role covers nothing but reading Nodes and patching them."""
    body = {"metadata": {"name": "node1"}} if method in {"POST", "PUT"} else None
    assert daemon.request(method, path, json=body).status_code == 403


def test_others_are_not_limited(plane: ControlPlane, daemon: httpx2.Client) -> None:
    """The policy is about flaxd alone: an administrator still changes everything."""
    assert daemon.get("/api/v1/nodes/node2").status_code == 200
    node = plane.patch_node("node2", {"spec": {"unschedulable": True}})
    assert node["spec"]["unschedulable"] is True
    assert plane.annotate("node2", vtep="10.0.0.7")["metadata"]["annotations"]["other"] == "kept"


def event(node: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": changed.pop("name", "a.1"), "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Warning",
        "reason": "TunnelFault",
        "action": "Reconcile",
        "note": "text",
        "regarding": {
            "apiVersion": "v1",
            "kind": "Node",
            "name": node["metadata"]["name"],
            "uid": node["metadata"]["uid"],
        },
        "reportingController": "linen-cni/flaxd",
        "reportingInstance": "node1",
        **changed,
    }


def test_events_about_its_own_node(plane: ControlPlane, daemon: httpx2.Client) -> None:
    """A daemon emits Events about its own Node, not about others, nor changes others' Events."""
    own, other = plane.node("node1"), plane.node("node2")
    assert daemon.post(EVENTS, json=event(own)).status_code == 201
    answer = daemon.post(EVENTS, json=event(other, name="a.2"))
    assert answer.status_code == 422, answer.text
    assert "linen-flaxd-events" in answer.json()["message"]
    foreign = event(own, name="a.3", reportingController="kubelet")
    assert daemon.post(EVENTS, json=foreign).status_code == 422
    plane.request("POST", EVENTS, foreign)
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}
    assert daemon.patch(f"{EVENTS}/a.3", json=series, headers=MERGE).status_code == 422
    assert daemon.patch(f"{EVENTS}/a.1", json=series, headers=MERGE).status_code == 200
    for name in ("a.1", "a.3"):
        plane.request("DELETE", f"{EVENTS}/{name}")
