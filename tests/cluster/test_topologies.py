# SPDX-License-Identifier: Apache-2.0
"""The overlays `star` and `controller`, a star of several masters, and another VNI, all live."""

from __future__ import annotations

from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from support.cluster.cluster import PATIENCE
from support.cluster.linen import Linen, image
from support.cluster.pods import running_pods
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.pods import Pods

pytestmark = pytest.mark.timeout(4 * PATIENCE)  # each change is made node by node

MASTER, SECOND_MASTER = "node1", "node2"
NAMES = ("node1-a", "node2-a", "node3-a")
CONTROLLER = "app.kubernetes.io/name=linen-controller"


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """A pod on each node."""
    with running_pods(installed.cluster, "topologies", *NAMES) as pods:
        yield pods


@pytest.fixture(scope="module")
def star(installed: Linen) -> Iterator[Linen]:
    """A cluster that is a star for the time of these tests."""
    cluster = installed.cluster
    cluster.kubectl("label", "node", MASTER, "linen-cni/master=true")
    star = Linen(cluster, "star")
    roll_out(star)
    yield star
    cluster.kubectl("label", "node", MASTER, "linen-cni/master-")
    roll_out(installed)
    installed.wait_for_tunnels(cluster.nodes)


@pytest.fixture
def controller(star: Linen) -> Iterator[Linen]:
    """A star that obeys a controller."""
    cluster = star.cluster
    for node in cluster.nodes.values():
        node.load_image(image("linen-controller"))
    controller = Linen(cluster, "controller")
    roll_out(controller)
    controller.kubectl("rollout", "status", "deployment/linen-controller")
    yield controller
    controller.kubectl("delete", "deployment,service,networkpolicy", "linen-controller")
    roll_out(star)


@pytest.fixture
def spanning(star: Linen) -> Iterator[Linen]:
    """A star with spanning tree, as several masters need it, and with a second master."""
    cluster = star.cluster
    star.configure(stp="stp")
    roll_out(star)
    cluster.kubectl("label", "node", SECOND_MASTER, "linen-cni/master=true")
    yield star
    cluster.kubectl("label", "node", MASTER, "linen-cni/master=true", "--overwrite")
    cluster.kubectl("label", "node", SECOND_MASTER, "linen-cni/master-")
    star.configure()
    roll_out(star)


def roll_out(linen: Linen) -> None:
    """Change what is installed into this."""
    linen.apply()
    linen.wait_until_rolled_out()


def ping_all(pods: Pods) -> None:
    """Every pod reaches every other."""
    for source, target in permutations(pods.addresses, 2):
        pods.exec(source, "ping", "-c1", "-w30", pods.addresses[target])


def reach_all(pods: Pods) -> None:
    """Every pod reaches every other, as soon as the spanning tree is as it should be."""
    for source, target in permutations(pods.addresses, 2):
        pods.wait_for_ping(source, pods.addresses[target])


def has_one_tunnel(star: Linen, name: str, address: str) -> bool:
    """Whether a node's only tunnel leads there."""
    return star.tunnels(name) == {address}


def states(cluster: Cluster) -> set[str]:
    """What spanning tree has made of the nodes' tunnels."""
    rows = [row for node in cluster.nodes.values() for row in node.records("Port", "status")]
    return {row["status"].get("stp_state", "") for row in rows}


def keys(cluster: Cluster) -> list[str]:
    """The key of each tunnel of each node."""
    rows = [row for node in cluster.nodes.values() for row in node.records("Interface", "options")]
    return [row["options"]["key"] for row in rows if "key" in row["options"]]


def connected(cluster: Cluster) -> set[bool]:
    """Whether the nodes' bridges have their controller."""
    return {
        bool(row["is_connected"])
        for node in cluster.nodes.values()
        for row in node.records("Controller", "is_connected")
    }


def test_another_vni(installed: Linen, pods: Pods) -> None:
    """With all flaxd at once another VNI is one short outage, and no tunnel keeps the old one."""
    cluster = installed.cluster
    installed.wait_for_tunnels(cluster.nodes)
    try:
        installed.configure(vni="4711")
        installed.apply()
        installed.kubectl("delete", "pods", "--selector=app.kubernetes.io/name=linen")
        installed.wait_until_rolled_out()
        wait_until(lambda: keys(cluster) == ["4711"] * 6, "the tunnels' new key", PATIENCE)
        ping_all(pods)
    finally:
        installed.configure()
        roll_out(installed)


def test_star(star: Linen, pods: Pods) -> None:
    """The labelled node has a tunnel to each other, they have one to it, and all pods reach all."""
    cluster = star.cluster
    tunnels = {name: node.tunnel_address for name, node in cluster.nodes.items()}
    center = tunnels.pop(MASTER)
    wait_until(lambda: star.tunnels(MASTER) == set(tunnels.values()), "the master", PATIENCE)
    for name in tunnels:
        wait_until(partial(has_one_tunnel, star, name, center), name, PATIENCE)
    ping_all(pods)


def test_controller(controller: Linen, pods: Pods) -> None:
    """Packets take the ways that the controller chooses, and their own while there is none."""
    cluster = controller.cluster
    wait_until(lambda: connected(cluster) == {True}, "the controller", PATIENCE)
    ping_all(pods)
    flows = cluster.nodes["node2"].run("ovs-ofctl", "--no-names", "dump-flows", "br0").stdout
    assert "CONTROLLER" in flows
    assert "dl_dst=" in flows

    controller.kubectl("scale", "deployment/linen-controller", "--replicas=0")
    limit = f"--timeout={PATIENCE - 5}s"
    controller.kubectl("wait", "pods", f"--selector={CONTROLLER}", "--for=delete", limit)
    wait_until(lambda: connected(cluster) == {False}, "the controller's end", PATIENCE)
    ping_all(pods)

    controller.kubectl("scale", "deployment/linen-controller", "--replicas=1")
    wait_until(lambda: connected(cluster) == {True}, "the controller to be back", PATIENCE)
    ping_all(pods)


@pytest.mark.long
def test_several_masters(spanning: Linen, pods: Pods) -> None:
    """With two masters spanning tree cuts the loop, all pods reach all, and one master may go."""
    cluster = spanning.cluster
    addresses = {name: node.tunnel_address for name, node in cluster.nodes.items()}
    spanning.wait_for_tunnels(cluster.nodes)  # of three nodes two masters make a mesh
    wait_until(lambda: "blocking" in states(cluster), "a tunnel to be put aside", PATIENCE)
    reach_all(pods)

    cluster.kubectl("label", "node", MASTER, "linen-cni/master-")
    for name in (MASTER, "node3"):
        wait_until(
            partial(has_one_tunnel, spanning, name, addresses[SECOND_MASTER]), name, PATIENCE
        )
    reach_all(pods)
