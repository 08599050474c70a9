# SPDX-License-Identifier: Apache-2.0
"""flaxd with a pod's token, as on a cluster, which the kubelet replaces long before it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.host import wait_until

if TYPE_CHECKING:
    from support.control_plane import ControlPlane
    from support.kubernetes_nodes import KubernetesNode

SYSTEM = "/api/v1/namespaces/linen-system"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
POD = {
    "metadata": {"name": "flaxd"},
    "spec": {
        "nodeName": "node1",
        "serviceAccountName": "flaxd",
        "containers": [{"name": "flaxd", "image": "registry.example/flaxd"}],
    },
}


def token_of(plane: ControlPlane, pod: dict[str, Any]) -> str:
    """A token that ends with the pod, whatever its time."""
    about = pod["metadata"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": about["name"], "uid": about["uid"]}
    path = f"{SYSTEM}/serviceaccounts/flaxd/token"
    answer = plane.request("POST", path, {"spec": {"boundObjectRef": bound}})
    token: str = answer["status"]["token"]
    return token


def is_valid(plane: ControlPlane, token: str) -> bool:
    """Whether the API server takes a token for anybody's; it remembers for 10 s that it did."""
    answer = plane.request("POST", REVIEWS, {"spec": {"token": token}})
    return bool(answer["status"].get("authenticated"))


def test_token_is_rotated(node1: KubernetesNode) -> None:
    """A daemon whose token is replaced before it ends goes on without a gap."""
    plane = node1.plane
    first = token_of(plane, plane.request("POST", f"{SYSTEM}/pods", POD))
    node1.write_token(first)
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        node1.write_token()
        plane.request("DELETE", f"{SYSTEM}/pods/flaxd", {"gracePeriodSeconds": 0})
        wait_until(lambda: not is_valid(plane, first), "the first token to end")
        node1.relay.cut()
        plane.add_node("node2", annotations={"linen-cni/vtep": "10.245.0.2"})

        node1.wait_for_peers("node2")
        assert "Unauthorized" not in daemon.log
