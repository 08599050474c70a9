# SPDX-License-Identifier: Apache-2.0
"""`linenctl install --kubernetes`: manifests as wanted, applied, and a word for what hinders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.manifests import (
    containers_of,
    kubectl,
    linenctl,
    parsed,
    pods_of,
    rendered,
    settings_of,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from support.control_plane import ControlPlane

DAEMON_SETS = "/apis/apps/v1/namespaces/linen-system/daemonsets"
PODS = "/api/v1/namespaces/linen-system/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


def printed(*argv: str) -> list[dict[str, Any]]:
    """The objects that linenctl prints with these options."""
    done = linenctl("install", "--kubernetes", *argv)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


@pytest.mark.parametrize("overlay", ["host-ovs", "bundled-ovs"])
def test_prints_what_the_overlay_has(overlay: str) -> None:
    """Without values the manifests are those of `kubectl apply -k deploy/OVERLAY`."""
    assert printed("--overlay", overlay) == rendered(overlay)


def test_values_reach_flaxd() -> None:
    """Each value that was given is flaxd's, and the others keep their default."""
    values = {
        "cluster-range": "10.42.0.0/16",
        "topology": "star",
        "mtu": "1400",
        "vtep-interface": "eth1",
        "vtep-family": "ipv6",
        "vni": "7",
        "datapath-type": "netdev",
        "controller": "192.0.2.1:6653",
    }
    options = [f"--{name}={value}" for name, value in values.items()]
    before, after = settings_of(rendered("host-ovs")), settings_of(printed(*options))

    given = {"LINEN_" + name.upper().replace("-", "_"): value for name, value in values.items()}
    assert after == before | given


def test_registry_stands_before_every_image() -> None:
    """Images come from the registry that was named, with the same names and tags."""
    own = printed("--overlay", "bundled-ovs", "--registry", "registry.example:5000/team/")
    for ours, plain in zip(*map(_images, (own, rendered("bundled-ovs"))), strict=True):
        assert ours == plain.replace("localhost/", "registry.example:5000/team/")


def _images(objects: list[dict[str, Any]]) -> list[str]:
    specs = pods_of(objects).values()
    return [each["image"] for spec in specs for each in containers_of(spec).values()]


@pytest.fixture
def config(plane: ControlPlane) -> Path:
    """An administrator's kubeconfig of a cluster with node1 and node2."""
    plane.admin.delete(f"{DAEMON_SETS}/linen")
    for name in ("node1", "node2"):
        plane.add_node(name)
    return plane.admin_kubeconfig()


def install(config: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Apply, with little patience."""
    options = ("--apply", f"--kubeconfig={config}", "--timeout=2", *argv)
    return linenctl("install", "--kubernetes", *options)


@pytest.fixture
def pods(plane: ControlPlane, config: Path) -> Iterator[ControlPlane]:
    """What the DaemonSet controller would have made, on both nodes: no kubelet is here."""
    install(config)
    (spec,) = (s for name, s in pods_of(rendered("host-ovs")).items() if name == "linen")
    labels = {"app.kubernetes.io/name": "linen", "app.kubernetes.io/part-of": "linen"}
    for node in ("node1", "node2"):
        metadata = {"name": f"linen-{node}", "labels": labels}
        plane.request("POST", PODS, {"metadata": metadata, "spec": spec | {"nodeName": node}})
    yield plane
    for node in ("node1", "node2"):
        gone = {"gracePeriodSeconds": 0}
        plane.request("DELETE", f"{PODS}/linen-{node}", gone)


def report(plane: ControlPlane, pod: str, status: dict[str, Any]) -> None:
    """What a kubelet says of a pod."""
    plane.request("PATCH", f"{PODS}/{pod}/status", {"status": status}, headers=STRATEGIC)


def test_applies_and_waits(plane: ControlPlane, config: Path) -> None:
    """The objects are there, as wanted; it ends well as soon as all nodes are ready."""
    assert install(config, "--mtu", "1400").returncode == 1
    found = plane.request("GET", f"{DAEMON_SETS}/linen")
    status = {
        "observedGeneration": found["metadata"]["generation"],
        **dict.fromkeys(("desiredNumberScheduled", "currentNumberScheduled"), 2),
        **dict.fromkeys(("updatedNumberScheduled", "numberAvailable", "numberReady"), 2),
        "numberMisscheduled": 0,
    }
    patch = {"status": status}
    plane.request("PATCH", f"{DAEMON_SETS}/linen/status", patch, headers=MERGE)

    done = install(config, "--mtu", "1400")

    assert done.returncode == 0, done.stderr
    assert "Linen works on all nodes" in done.stdout
    chosen = kubectl("get", "-n", "linen-system", "configmaps", "-o", "yaml", kubeconfig=config)
    assert 'LINEN_MTU: "1400"' in chosen


def test_names_the_cause_of_each_node(pods: ControlPlane, config: Path) -> None:
    """Where nodes do not become ready, it says which, and why, in the words of who knows."""
    pull = {"reason": "ErrImagePull", "message": "no such registry"}
    report(
        pods,
        "linen-node1",
        {"initContainerStatuses": [_container("install-cni", waiting=pull)]},
    )
    down = {
        "type": "NetworkUnavailable",
        "status": "True",
        "reason": "LinenIsDown",
        "message": "OVSDB at /var/run/openvswitch/db.sock: no such file",
    }
    pods.patch_node("node2", {"status": {"conditions": [down]}}, "status")

    done = install(config)

    assert done.returncode == 1
    assert "node1: container install-cni: ErrImagePull: no such registry\n" in done.stdout
    assert f"node2: {down['message']}\n" in done.stdout
    assert "node1, node2" in done.stderr


def test_tells_last_words(pods: ControlPlane, config: Path) -> None:
    """Of a daemon that ends again and again, it tells the last words; of others nothing."""
    ended = {"exitCode": 2, "message": "flaxd: LINEN_MTU: must be from 576 to 65535 bytes, is 3\n"}
    again = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
    crashed = _container("flaxd", waiting=again) | {"lastState": {"terminated": ended}}
    report(pods, "linen-node1", {"containerStatuses": [crashed]})
    report(pods, "linen-node2", {"conditions": [{"type": "Ready", "status": "True"}]})

    done = install(config)

    assert f"node1: container flaxd: CrashLoopBackOff: {ended['message']}" in done.stdout
    assert "node2" not in done.stdout + done.stderr


def test_names_what_open_vswitch_lacks(pods: ControlPlane, config: Path) -> None:
    """Where flaxd waits for an Open vSwitch that came along, the fault of that one is told."""
    labels = {"app.kubernetes.io/name": "linen-ovs", "app.kubernetes.io/part-of": "linen"}
    spec = pods_of(rendered("bundled-ovs"))["linen-ovs"] | {"nodeName": "node1"}
    account = {"metadata": {"name": "default"}}
    pods.admin.post("/api/v1/namespaces/linen-system/serviceaccounts", json=account)
    pods.request("POST", PODS, {"metadata": {"name": "ovs", "labels": labels}, "spec": spec})
    ended = {"exitCode": 1, "message": "ovsdb-server: no space left on device"}
    again = {"reason": "CrashLoopBackOff", "message": "back-off"}
    crashed = _container("ovsdb-server", waiting=again) | {"lastState": {"terminated": ended}}
    report(pods, "ovs", {"containerStatuses": [crashed]})

    done = install(config)
    pods.request("DELETE", f"{PODS}/ovs", {"gracePeriodSeconds": 0})

    assert f"node1: container ovsdb-server: CrashLoopBackOff: {ended['message']}" in done.stdout


def _container(name: str, **state: Any) -> dict[str, Any]:
    common = {"image": "linen", "imageID": "", "ready": False, "restartCount": 0}
    return {"name": name, "state": state, **common}


def test_cluster_that_does_not_answer(config: Path, plane: ControlPlane) -> None:
    """What kubectl says of a cluster that it cannot reach is passed on."""
    plane.stop_api_server()

    done = install(config)

    assert done.returncode == 1
    assert "refused" in done.stderr
