# SPDX-License-Identifier: Apache-2.0
"""Nodes as on a cluster: what kubelet, controllers and flaxd set there, by whom, in which steps.

A Node's managedFields, most of its metadata, tell who changed what. Nobody owns the status that a
kubelet creates its Node with; its first patch says that the node is ready, later ones that it
still is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.control_plane import ControlPlane

NODES = "/api/v1/nodes"
LABELS = {
    "beta.kubernetes.io/arch": "amd64",
    "beta.kubernetes.io/os": "linux",
    "kubernetes.io/arch": "amd64",
    "kubernetes.io/os": "linux",
    "node.kubernetes.io/instance-type": "m5.xlarge",
    "topology.kubernetes.io/region": "eu-central-1",
    "topology.kubernetes.io/zone": "eu-central-1a",
}
CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
CAPACITY = dict.fromkeys(("cpu", "ephemeral-storage", "hugepages-2Mi", "memory", "pods"), "4")
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
IMAGES = [{"names": [f"registry.example/image-{number}:v1"]} for number in range(50)]


def add_worker(plane: ControlPlane, name: str, vtep: str, pod_range: str) -> None:
    """A Node whose kubelet, controllers and daemon have done their work."""
    register(plane, name, vtep, pod_range)
    announce(plane, name, vtep, pod_range)
    condition = {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "LinenIsUp",
        "message": "The overlay of Linen works on this node",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    _patch_as(plane, "flaxd", f"{name}/status", {"status": {"conditions": [condition]}})


def register(plane: ControlPlane, name: str, vtep: str, pod_range: str) -> None:
    """A Node as kubelet and controllers make it, of which no daemon has said anything yet."""
    metadata = {
        "name": name,
        "labels": LABELS | {"kubernetes.io/hostname": name},
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
    }
    status = {
        "addresses": [
            {"type": "InternalIP", "address": vtep},
            {"type": "Hostname", "address": name},
        ],
        "capacity": CAPACITY,
        "allocatable": CAPACITY,
        "nodeInfo": {"kubeletVersion": "v1.37.2", "kernelVersion": "6.1", "osImage": "Debian"},
        "conditions": _conditions(0, "False"),
    }
    node = {"metadata": metadata, "status": status}
    plane.request("POST", NODES, node, params={"fieldManager": "kubelet"})
    ttl = {"annotations": {"node.alpha.kubernetes.io/ttl": "0"}}
    cidrs = {"podCIDR": pod_range, "podCIDRs": [pod_range]}
    _patch_as(plane, "kube-controller-manager", name, {"metadata": ttl, "spec": cidrs})
    ready = {"status": {"images": IMAGES, "conditions": _conditions(0, "True")}}
    _patch_as(plane, "kubelet", f"{name}/status", ready)


def announce(plane: ControlPlane, name: str, vtep: str, pod_range: str) -> None:
    """Annotate a Node as its daemon does."""
    annotations = {
        "linen-cni/vtep": vtep,
        "linen-cni/pod-ranges": pod_range,
        "linen-cni/version": "1",
    }
    _patch_as(plane, "flaxd", name, {"metadata": {"annotations": annotations}})


def heartbeat(plane: ControlPlane, name: str, second: int) -> None:
    """What a kubelet writes every five minutes when nothing has changed: a new time."""
    status = {"status": {"conditions": _conditions(second, "True")}}
    _patch_as(plane, "kubelet", f"{name}/status", status)


def _conditions(second: int, ready: str) -> list[dict[str, str]]:
    minutes, seconds = divmod(second, 60)
    return [
        {
            "type": kind,
            "status": ready if kind == "Ready" else "False",
            "reason": f"Kubelet{ready}" if kind == "Ready" else "KubeletHasSufficientMemory",
            "message": "kubelet has sufficient memory available",
            "lastHeartbeatTime": f"2026-01-01T00:{minutes:02}:{seconds:02}Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in CONDITIONS
    ]


def _patch_as(plane: ControlPlane, manager: str, path: str, patch: dict[str, Any]) -> None:
    plane.request(
        "PATCH", f"{NODES}/{path}", patch, headers=STRATEGIC, params={"fieldManager": manager}
    )
