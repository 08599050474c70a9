# SPDX-License-Identifier: Apache-2.0
"""What a kubelet's heartbeat costs each daemon on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.kube_watches import run, watching
from support.relay import Relay

if TYPE_CHECKING:
    from support.kubernetes import ControlPlane

HEARTBEATS = 20
LIMIT = 3 * 1024  # bytes

# As on a cluster: what kubelet and controllers set, by whom, and in which steps, since a Node's
# managedFields, most of its metadata, tell who changed what. Nobody owns the status that a kubelet
# creates its Node with; its first patch says that the node is ready, later ones that it still is.
LABELS = {
    "beta.kubernetes.io/arch": "amd64",
    "beta.kubernetes.io/os": "linux",
    "kubernetes.io/arch": "amd64",
    "kubernetes.io/hostname": "worker-17",
    "kubernetes.io/os": "linux",
    "node.kubernetes.io/instance-type": "m5.xlarge",
    "topology.kubernetes.io/region": "eu-central-1",
    "topology.kubernetes.io/zone": "eu-central-1a",
}
CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
CAPACITY = dict.fromkeys(("cpu", "ephemeral-storage", "hugepages-2Mi", "memory", "pods"), "4")
PATH = "/api/v1/nodes/worker-17"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


def patch_as(plane: ControlPlane, manager: str, path: str, patch: dict[str, Any]) -> None:
    plane.request("PATCH", path, patch, headers=STRATEGIC, params={"fieldManager": manager})


def conditions(minute: int, ready: str) -> list[dict[str, str]]:
    """What a kubelet says in each heartbeat; if nothing has changed, only the time is another."""
    return [
        {
            "type": kind,
            "status": ready if kind == "Ready" else "False",
            "reason": f"Kubelet{ready}" if kind == "Ready" else "KubeletHasSufficientMemory",
            "message": "kubelet has sufficient memory available",
            "lastHeartbeatTime": f"2026-01-01T00:{minute:02}:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in CONDITIONS
    ]


def heartbeat(plane: ControlPlane, minute: int) -> None:
    """What a kubelet writes every five minutes when nothing has changed."""
    status = {"status": {"conditions": conditions(minute, "True")}}
    patch_as(plane, "kubelet", f"{PATH}/status", status)


def add_worker(plane: ControlPlane) -> None:
    """A Node as kubelet, controllers and flaxd leave it."""
    metadata = {
        "name": "worker-17",
        "labels": LABELS,
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
    }
    status = {
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.17"},
            {"type": "Hostname", "address": "worker-17"},
        ],
        "capacity": CAPACITY,
        "allocatable": CAPACITY,
        "nodeInfo": {"kubeletVersion": "v1.37.2", "kernelVersion": "6.1", "osImage": "Debian"},
        "conditions": conditions(0, "False"),
    }
    node = {"metadata": metadata, "status": status}
    plane.request("POST", "/api/v1/nodes", node, params={"fieldManager": "kubelet"})
    ttl = {"annotations": {"node.alpha.kubernetes.io/ttl": "0"}}
    cidrs = {"podCIDR": "10.244.17.0/24", "podCIDRs": ["10.244.17.0/24"]}
    patch_as(plane, "kube-controller-manager", PATH, {"metadata": ttl, "spec": cidrs})
    images = [{"names": [f"registry.example/image-{n}:v1"]} for n in range(50)]
    ready = {"status": {"images": images, "conditions": conditions(0, "True")}}
    patch_as(plane, "kubelet", f"{PATH}/status", ready)
    ours = {
        "linen-cni/vtep": "10.0.0.17",
        "linen-cni/pod-ranges": "10.244.17.0/24",
        "linen-cni/version": "1",
    }
    patch_as(plane, "flaxd", PATH, {"metadata": {"annotations": ours}})
    condition = {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "LinenIsUp",
        "message": "The overlay of Linen works on this node",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    patch_as(plane, "flaxd", f"{PATH}/status", {"status": {"conditions": [condition]}})


def test_bytes_of_a_heartbeat(plane: ControlPlane) -> None:
    """A heartbeat of one node costs every other node's daemon at most 3 KiB, TLS included."""

    async def body() -> None:
        add_worker(plane)
        with Relay(plane.port) as relay:
            kubeconfig = plane.admin_kubeconfig(f"https://127.0.0.1:{relay.port}")
            async with watching(kubeconfig) as watched:
                before, calls, revision = relay.received, watched.calls, watched.revision
                for minute in range(1, HEARTBEATS + 1):
                    heartbeat(plane, minute)
                plane.add_node("end")
                await watched.until(lambda: "end" in watched.records)
                assert watched.revision > revision
                assert watched.calls == calls + 1
                each = (relay.received - before) / HEARTBEATS
                assert each <= LIMIT, f"{each:.0f} bytes"

    run(body())
