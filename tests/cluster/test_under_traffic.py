# SPDX-License-Identifier: Apache-2.0
"""Connections of pods go on whatever happens to Linen, the runtime, kubelet or their API server."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.cluster.cluster import PATIENCE
from support.cluster.pods import running_pods, template
from support.cluster.runtimes import RUNTIME
from support.cluster.settings import STATIC_PODS
from support.cluster.traffic import ask, network, running_traffic
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.node import Node
    from support.cluster.pods import Pods
    from support.cluster.traffic import Network, Traffic

SOURCE, TARGET = "node1-source", "node2-target"
OTHER_TAG = "localhost/linen:next"


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """Two pods on two nodes, which nobody restarts meanwhile."""
    with running_pods(installed.cluster, "traffic", SOURCE, TARGET) as pods:
        before = containers(pods)
        yield pods
        assert containers(pods) == before


@pytest.fixture
def traffic(pods: Pods, linen: Linen) -> Iterator[Traffic]:
    """Traffic between them during the test, of which nothing may be lost."""
    with running_traffic(pods, SOURCE, TARGET) as traffic:
        yield traffic
        linen.wait_until_rolled_out()


def containers(pods: Pods) -> dict[str, tuple[str, int]]:
    """The pods' containers, and how often they were restarted."""
    found = {}
    for name in pods.addresses:
        (one,) = pod(pods.cluster, "default", name)["status"]["containerStatuses"]
        found[name] = one["containerID"], one["restartCount"]
    return found


def pod(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """A pod, whole."""
    found: dict[str, Any] = cluster.plane.request(
        "GET", f"/api/v1/namespaces/{namespace}/pods/{name}"
    )
    return found


def uids(linen: Linen) -> set[str]:
    """What distinguishes flaxd's pods from those of another version."""
    return {one["metadata"]["uid"] for one in linen.pods().values()}


def test_flaxd_is_killed(linen: Linen, traffic: Traffic) -> None:
    """flaxd can be killed on both nodes, and no connection notices."""
    linen.kill_flaxd("node1", "node2")
    linen.wait_until_rolled_out()
    traffic.wait_for_more()


@pytest.mark.timeout(4 * PATIENCE)
def test_upgrade(linen: Linen, cluster: Cluster, traffic: Traffic) -> None:
    """Linen can be upgraded with another setting, and taken back, and no connection notices."""
    for node in cluster.nodes.values():
        node.tag_image("localhost/linen:0.1.0", OTHER_TAG)
    first = uids(linen)
    linen.configure(probe_interval="5")
    linen.apply()
    linen.kubectl("set", "image", "daemonset/linen", f"*={OTHER_TAG}")
    linen.wait_until_rolled_out()
    traffic.wait_for_more()
    second = uids(linen)
    assert not first & second

    linen.configure()
    linen.apply()
    linen.wait_until_rolled_out()
    assert not second & uids(linen)


@pytest.mark.parametrize("service", [RUNTIME.name, "kubelet"])
def test_service_is_killed(
    service: str, cluster: Cluster, pods: Pods, pods_of_test: Pods, traffic: Traffic
) -> None:
    """The runtime and kubelet can be killed on a pod's node, and no connection notices."""
    node = cluster.nodes[pods.nodes[SOURCE]]
    node.kill_service(service)
    traffic.wait_for_more()
    node.start_service(service)

    pods_of_test.create(f"{node.name}-new")
    pods_of_test.wait_for_ping(f"{node.name}-new", pods.addresses[TARGET])


@pytest.fixture
def caller(pods: Pods) -> Iterator[Network]:
    """The network of the pod that calls."""
    with network(pods, SOURCE) as found:
        yield found


@pytest.fixture
def no_api_server(cluster: Cluster, traffic: Traffic, caller: Network) -> Iterator[None]:
    """A time without the API server, which ends at the latest with the test."""
    del traffic, caller  # they had to be asked for before
    cluster.plane.stop_api_server()
    yield
    cluster.plane.ensure_api_server()


@pytest.mark.usefixtures("no_api_server")
def test_api_server_is_away(linen: Linen, cluster: Cluster, pods: Pods, caller: Network) -> None:
    """Without the API server pods start and stop, and a killed flaxd comes back."""
    node = cluster.nodes[pods.nodes[TARGET]]
    before = linen.leases(node.name)

    def answers() -> bool:
        try:
            (address,) = linen.leases(node.name) - before
            return caller.call(lambda: ask(address)) == f"static-{node.name}"
        except (ValueError, OSError):  # no address yet, or nobody there yet
            return False

    with static_pod(node):
        wait_until(answers, "the static pod to answer", PATIENCE)
        linen.kill_flaxd(node.name)
        wait_until(lambda: is_ready(node), f"flaxd on {node.name} to be ready", PATIENCE)
    wait_until(
        lambda: linen.leases(node.name) <= before, "the static pod's address to be free", PATIENCE
    )

    cluster.plane.start_api_server()
    linen.wait_until_heard()
    cluster.wait_until_ready()


@contextmanager
def static_pod(node: Node) -> Iterator[None]:
    """A pod that kubelet runs because of a file, for as long as the block lasts."""
    pod = template({})
    pod["metadata"] = {"name": "static", "namespace": "default"}
    manifest = {"apiVersion": "v1", "kind": "Pod"} | pod
    path, temporary = f"{STATIC_PODS}/static.json", f"{STATIC_PODS}/.static.json"
    node.run("tee", temporary, stdin=json.dumps(manifest))
    node.run("mv", temporary, path)  # so kubelet sees all of it at once
    try:
        yield
    finally:
        node.run("rm", path)


def is_ready(node: Node) -> bool:
    """Whether a node's flaxd says that its overlay works."""
    url = "http://127.0.0.1:9474/readyz"
    return not node.run("curl", "-fsS", url, check=False).returncode
