# SPDX-License-Identifier: Apache-2.0
"""Linen brings Open vSwitch to nodes that have none, and takes it away again."""

from __future__ import annotations

import json
import logging
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from support.cluster.cluster import PATIENCE, Cluster, running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pings import running_pings
from support.cluster.pods import running_pods
from support.cluster.traffic import running_traffic
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.node import Node
    from support.cluster.pods import Pods

log = logging.getLogger("bundled-ovs")

NODES = ("node1", "node2", "node3")
NAMES = ("node1-a", "node2-a", "node3-a")
DAEMONS = "ovs-vswitchd|ovsdb-server"
RIGS_BRIDGE = "br-phy"
OVS = "app.kubernetes.io/name=linen-ovs"
LIMIT = f"--timeout={PATIENCE - 10}s"
DATABASE = "/run/openvswitch/conf.db"


@pytest.fixture(scope="module")
def bundled() -> Iterator[Linen]:
    """A cluster of its own whose nodes have nothing but Kubernetes, with Linen installed."""
    with running_cluster() as cluster:
        images = [image("linen"), image("linen-ovs")]
        cluster.add_nodes(*NODES, images=images, has_ovs=False)
        linen = Linen(cluster, "bundled-ovs")
        assert not any(daemons(node) for node in cluster.nodes.values())
        linen.install()
        yield linen


@pytest.fixture(scope="module")
def pods(bundled: Linen) -> Iterator[Pods]:
    """A pod on each node."""
    with running_pods(bundled.cluster, "bundled", *NAMES) as pods:
        yield pods


def daemons(node: Node) -> dict[str, str]:
    """Open vSwitch's daemons that run on a node, by pid."""
    listed = node.run("pgrep", "--list-name", "--exact", DAEMONS, check=False).stdout
    return dict(line.split() for line in listed.splitlines())


def ovs_pods(linen: Linen) -> dict[str, str]:
    """The UIDs of Open vSwitch's pods, by node."""
    return {node: pod["metadata"]["uid"] for node, pod in linen.pods("linen-ovs").items()}


def ping_all(pods: Pods) -> None:
    """Every pod reaches every other."""
    for source, target in permutations(pods.addresses, 2):
        pods.exec(source, "ping", "-c1", "-w30", pods.addresses[target])


def bridges_in_database(node: Node) -> list[str]:
    """The bridges that the next ovs-vswitchd would make."""
    select = {"op": "select", "table": "Bridge", "where": [], "columns": ["name"]}
    query = json.dumps(["Open_vSwitch", select])
    answer: Any = json.loads(node.run("ovsdb-tool", "query", DATABASE, query).stdout)
    return [row["name"] for row in answer[0]["rows"]]


def test_nodes_get_open_vswitch(bundled: Linen, pods: Pods) -> None:
    """Each node becomes Ready with both daemons of Open vSwitch, and pods reach one another."""
    for node in bundled.cluster.nodes.values():
        assert sorted(daemons(node).values()) == ["ovs-vswitchd", "ovsdb-server"]
    bundled.wait_for_tunnels(NODES)
    ping_all(pods)


def test_upgrade_leaves_open_vswitch_alone(bundled: Linen, pods: Pods) -> None:
    """A new version of Linen leaves pods and processes of Open vSwitch, and connections, alone."""
    nodes = bundled.cluster.nodes
    before = ovs_pods(bundled), {name: daemons(node) for name, node in nodes.items()}
    flaxds = {pod["metadata"]["uid"] for pod in bundled.pods().values()}
    with running_traffic(pods, "node1-a", "node2-a"):
        bundled.configure(probe_interval="5")
        bundled.apply()
        bundled.wait_until_rolled_out()
    assert not flaxds & {pod["metadata"]["uid"] for pod in bundled.pods().values()}
    assert (ovs_pods(bundled), {name: daemons(node) for name, node in nodes.items()}) == before


@pytest.mark.parametrize("daemon", ["ovs-vswitchd", "ovsdb-server"])
def test_killed_daemon_comes_back(bundled: Linen, pods: Pods, daemon: str) -> None:
    """When a daemon of Open vSwitch is killed, its container starts it again, and packets go on.

    With the datapath netdev they wait for either: an ovs-vswitchd that switches by itself does so
    only while it has a database.
    """
    node = bundled.cluster.nodes["node2"]
    before = daemons(node)
    (pid,) = (pid for pid, name in before.items() if name == daemon)
    with running_pings(pods, "node1-a", "node2-a") as pings:
        node.run("kill", "-KILL", pid)
        wait_until(lambda: (now := daemons(node)) != before and len(now) == 2, daemon, PATIENCE)
        bundled.wait_until_rolled_out()
        pings.wait_for_answer(PATIENCE)
    log.info("%s killed: no packet for %.1f s", daemon, pings.longest_pause)
    ping_all(pods)


def test_deleted_pod_of_open_vswitch_comes_back(bundled: Linen, pods: Pods) -> None:
    """When Open vSwitch's pod is replaced, the new one finds its bridges, and packets go on."""
    before = bundled.pods("linen-ovs")["node2"]["metadata"]
    with running_pings(pods, "node1-a", "node2-a") as pings:
        bundled.kubectl("delete", "pod", before["name"])
        wait_until(lambda: "node2" in ovs_pods(bundled), "a new pod", PATIENCE)
        bundled.kubectl("wait", "pods", f"--selector={OVS}", "--for=condition=Ready", LIMIT)
        bundled.wait_until_rolled_out()
        pings.wait_for_answer(PATIENCE)
    log.info("pod deleted: no packet for %.1f s", pings.longest_pause)
    assert ovs_pods(bundled)["node2"] != before["uid"]
    ping_all(pods)


def test_reboot(bundled: Linen, pods: Pods) -> None:
    """A node that boots again begins with an empty database; its pods come back by themselves."""
    cluster = bundled.cluster
    node = cluster.nodes["node2"]
    stale = ("br-stale", "--", "set", "bridge", "br-stale", "datapath_type=netdev")
    node.vsctl("add-br", *stale)
    node.switch_off()
    node.boot(cluster.fabric)

    def is_back() -> bool:
        (status,) = pod_status(cluster, "node2-a")["containerStatuses"]
        return bool(status["restartCount"] and status["ready"])

    wait_until(is_back, "node2-a to be restarted", PATIENCE)
    pods.wait_until_ready()
    bundled.wait_until_rolled_out()
    bundled.wait_for_tunnels(NODES)
    assert set(node.vsctl("list-br").split()) == {"br0", RIGS_BRIDGE}
    ping_all(pods)


def pod_status(cluster: Cluster, name: str) -> dict[str, Any]:
    """A pod's status."""
    path = f"/api/v1/namespaces/default/pods/{name}"
    status: dict[str, Any] = cluster.plane.request("GET", path)["status"]
    return status


def test_delete_leaves_nothing(bundled: Linen, pods: Pods) -> None:
    """`kubectl delete -k` leaves no daemon, device, file or bridge; what comes next starts anew."""
    cluster = bundled.cluster
    pods.delete()
    bundled.delete()
    for node in cluster.nodes.values():
        wait_until(partial(is_without, node), f"Open vSwitch to end on {node.name}", 60)
        folders = ("/etc/cni/net.d", "/opt/cni/bin", "/var/lib/linen")
        assert not node.run("find", *folders, "-mindepth", "1").stdout
        assert not {"br0", "kbr0"} & node.links().keys()
        assert "linen" not in node.run("nft", "list", "tables").stdout
        assert not node.run("find", "/run/openvswitch", "-type", "s").stdout
        assert bridges_in_database(node) == [RIGS_BRIDGE]
    bundled.apply()
    bundled.wait_until_rolled_out()
    cluster.wait_until_ready()


def is_without(node: Node) -> bool:
    """Whether no daemon of Open vSwitch runs on a node."""
    return not daemons(node)
