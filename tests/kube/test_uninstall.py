# SPDX-License-Identifier: Apache-2.0
"""`linenctl uninstall --kubernetes`, with Kubernetes' controllers, but without kubelets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.control_plane import temporary_control_plane
from support.host import wait_until
from support.manifests import DEPLOY, OVERLAYS, kubectl, linenctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.control_plane import ControlPlane

PODS = "/api/v1/namespaces/linen-system/pods"
DOWN = {"type": "NetworkUnavailable", "status": "True", "reason": "LinenIsDown", "message": "why"}
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


@pytest.fixture(scope="module")
def controlled_plane() -> Iterator[ControlPlane]:
    """A control plane whose controllers delete what belongs to something deleted."""
    with temporary_control_plane() as plane:
        # Any port: other clusters may run on this machine's loopback.
        manager = plane.controller_manager_flags() | {"secure-port": 0}
        plane.start_controllers({"kube-controller-manager": manager})
        yield plane


@pytest.fixture
def config(controlled_plane: ControlPlane) -> Path:
    """An administrator's kubeconfig."""
    return controlled_plane.admin_kubeconfig()


def uninstall(config: Path, *argv: str) -> tuple[int, str, str]:
    """Call it; its exit status and what it said."""
    done = linenctl("uninstall", "--kubernetes", f"--kubeconfig={config}", *argv)
    return done.returncode, done.stdout, done.stderr


def test_leaves_nothing_of_ours(controlled_plane: ControlPlane, config: Path) -> None:
    """Of whichever overlays were applied, all objects go, and what Nodes say of Linen.

    Those of others stay.
    """
    plane = controlled_plane
    for overlay in OVERLAYS:
        kubectl("apply", "--server-side", "-k", DEPLOY / overlay, kubeconfig=config)
    foreign = "linen-of-others"
    plane.request("POST", ROLES, {"metadata": {"name": foreign}, "rules": []})
    told = {f"linen-cni/{name}": "1" for name in ("vtep", "pod-ranges", "master", "version")}
    for name in ("told1", "told2"):
        plane.add_node(name, annotations=told | {"other/vtep": "1"})
        plane.patch_node(name, {"status": {"conditions": [DOWN]}}, "status")

    status, shown, _ = uninstall(config)
    assert status == 0
    assert "would delete: daemonset.apps/linen\n" in shown
    assert plane.admin.get("/api/v1/namespaces/linen-system").is_success

    status, _, said = uninstall(config, "--apply", "--timeout=60")
    assert status == 0, said
    assert plane.admin.get("/api/v1/namespaces/linen-system").status_code == 404
    assert plane.admin.get(f"{ROLES}/{foreign}").is_success
    for name in ("told1", "told2"):
        node = plane.node(name)
        kept = node["metadata"]["annotations"].keys()
        assert "other/vtep" in kept
        assert not told.keys() & kept
        assert DOWN["type"] not in {one["type"] for one in node["status"].get("conditions", [])}
    assert uninstall(config)[1] == "nothing of Linen is in this cluster\n"
    assert uninstall(config, "--apply")[1] == "nothing of Linen is in this cluster\n"


def test_node_that_does_not_answer_is_named(controlled_plane: ControlPlane, config: Path) -> None:
    """Where a kubelet is away, so that flaxd cannot end, it says on which node, and what to do."""
    plane = controlled_plane
    plane.add_node("node1")
    plane.patch_node("node1", {"metadata": {"labels": {"kubernetes.io/os": "linux"}}})
    kubectl("apply", "--server-side", "-k", DEPLOY / "host-ovs", kubeconfig=config)
    pod = _wait_for_pod(plane)
    # As the scheduler does, which is not here.
    binding = {"metadata": {"name": pod}, "target": {"kind": "Node", "name": "node1"}}
    plane.request("POST", f"{PODS}/{pod}/binding", binding)

    status, _, said = uninstall(config, "--apply", "--timeout=2")

    assert status == 1
    assert "flaxd does not end on node1" in said
    assert "delete their Nodes" in said
    # The rest is still there, flaxd's rights among it.
    assert plane.admin.get(f"{ROLES}/linen-flaxd").is_success


def _wait_for_pod(plane: ControlPlane) -> str:
    """The name of the pod that the DaemonSet controller makes."""

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in plane.request("GET", PODS)["items"]]

    wait_until(names, "the DaemonSet's pod", 30)
    return names()[0]
