# SPDX-License-Identifier: Apache-2.0
"""flaxd in a real cluster: nodes join, leave and move, whatever happens in between."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from linen.flaxd import node_writer
from support.host import wait_until
from support.kubernetes_nodes import KubernetesNodes, address_of

if TYPE_CHECKING:
    from support.control_plane import ControlPlane
    from support.kubernetes_nodes import KubernetesNode


@pytest.fixture
def node2(cluster: KubernetesNodes) -> KubernetesNode:
    """Another one."""
    node = cluster.add("node2")
    node.register()
    return node


def announce(plane: ControlPlane, name: str, **annotations: str) -> None:
    """A node whose daemon is elsewhere: its Node object as that daemon would leave it."""
    plane.add_node(
        name,
        annotations={"linen-cni/vtep": address_of(name), "linen-cni/version": "1"} | annotations,
    )


def test_two_nodes_find_each_other(node1: KubernetesNode, node2: KubernetesNode) -> None:
    """Two daemons publish their nodes, connect them, and report the network available."""
    with node1.flaxd(), node2.flaxd():
        node1.wait_for_peers("node2")
        node2.wait_for_peers("node1")
        wait_until(lambda: node1.condition().get("status") == "False", "the condition")

        annotations = node1.plane.node("node1")["metadata"]["annotations"]
        assert annotations["linen-cni/vtep"] == node1.vtep
        assert annotations["linen-cni/pod-ranges"] == "10.244.1.0/24"
        conflist = json.loads(node1.settings["conflist"].read_text())
        assert conflist["plugins"][0]["ipam"]["ranges"][0][0]["gateway"] == "10.244.1.1"


def test_join_leave_and_move(node1: KubernetesNode) -> None:
    """A Node that appears, disappears or changes its address gets, loses or changes its tunnel."""
    plane = node1.plane
    with node1.flaxd():
        announce(plane, "node2")
        announce(plane, "node3")
        node1.wait_for_peers("node2", "node3")

        plane.delete_node("node2")
        node1.wait_for_peers("node3")

        plane.annotate("node3", vtep=address_of("node33"))
        node1.wait_for_peers("node33")


def test_leaves_while_the_daemon_is_down(node1: KubernetesNode) -> None:
    """A Node that was deleted while the daemon was down loses its tunnel at the next start."""
    announce(node1.plane, "node2")
    announce(node1.plane, "node3")
    with node1.flaxd():
        node1.wait_for_peers("node2", "node3")
    node1.plane.delete_node("node2")

    with node1.flaxd():
        node1.wait_for_peers("node3")


def test_own_address_changes(node1: KubernetesNode) -> None:
    """A node whose InternalIP changes publishes the new one."""
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        node1.plane.set_addresses("node1", ["10.245.0.111"])

        def published() -> Any:
            return node1.plane.node("node1")["metadata"]["annotations"]["linen-cni/vtep"]

        wait_until(lambda: published() == "10.245.0.111", "the new address")


def test_pod_range_that_comes_late(cluster: KubernetesNodes) -> None:
    """Without a pod range the network is unavailable and has no conflist; with it both change."""
    node = cluster.add("node1")
    node.register(ranges=False)
    with node.flaxd() as daemon:
        daemon.wait_for("waiting: this node has no part of the pod network yet")
        wait_until(lambda: node.condition().get("status") == "True", "the condition")
        assert not node.settings["conflist"].exists()

        node.allocate()
        wait_until(node.settings["conflist"].exists, "the conflist")
        wait_until(lambda: node.condition().get("status") == "False", "the condition")


def test_two_hundred_nodes_at_once(node1: KubernetesNode) -> None:
    """Two hundred Nodes that appear together all get their tunnels."""
    names = [f"node{number}" for number in range(2, 202)]
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        for name in names:
            announce(node1.plane, name)

        node1.wait_for_peers(*names)


@pytest.mark.timeout(240)
def test_api_server_away(node1: KubernetesNode) -> None:
    """While the API server is away, for a minute, tunnels are mended, over a restart too.

    Also where two nodes claim the same addresses.
    """
    for name in ("node2", "node4"):
        announce(node1.plane, name, **{"linen-cni/pod-ranges": "10.244.7.0/24"})
    with node1.flaxd():
        node1.wait_for_peers("node2", "node4")
        node1.plane.stop_api_server()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            node1.host.vsctl("del-port", "vxif10_245_0_2")
            node1.wait_for_peers("node2", "node4")

    node1.host.vsctl("del-port", "vxif10_245_0_2")
    with node1.flaxd():
        node1.wait_for_peers("node2", "node4")

        node1.plane.start_api_server()
        announce(node1.plane, "node3")
        node1.wait_for_peers("node2", "node3", "node4", seconds=60)


def test_address_of_ones_own(node1: KubernetesNode) -> None:
    """A node that says that it has an address of this one gets no tunnel, and that is told.

    Broadcasts would come back through it, and teach the bridges wrong ports.
    """
    node1.host.run("ip", "address", "add", "192.0.2.7/32", "dev", "lo")
    announce(node1.plane, "node2", **{"linen-cni/vtep": "192.0.2.7"})
    announce(node1.plane, "node3")

    with node1.flaxd() as daemon:
        node1.wait_for_peers("node3")
        daemon.wait_for("no tunnel to node node2: its VTEP address 192.0.2.7 is one of this node's")


def test_watch_expired(node1: KubernetesNode) -> None:
    """A daemon that was cut off for longer than the server remembers reads everything anew."""
    announce(node1.plane, "node2")
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        node1.relay.refuse()
        node1.plane.delete_node("node2")
        announce(node1.plane, "node3")
        # An API server that goes on remembers what etcd has forgotten.
        node1.plane.stop_api_server()
        node1.plane.compact()
        node1.plane.start_api_server()
        node1.relay.accept()

        node1.wait_for_peers("node3", seconds=60)
        assert "too old resource version" in daemon.log


HOSTILE = {
    "shell": "$(reboot)",
    "options": "10.245.0.9 --db=unix:/x",
    "newline": "10.245.0.9\nlevel=error",
    "multicast": "239.1.1.1",
    "long": "1" * 100_000,
    "own address": address_of("node1"),
    "address of another": address_of("node3"),
}


@pytest.mark.parametrize("vtep", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_annotations(node1: KubernetesNode, vtep: str) -> None:
    """A Node that claims nonsense costs itself its tunnel, and is reported; others are served."""
    announce(node1.plane, "node3")
    announce(node1.plane, "node9", **{"linen-cni/vtep": vtep})
    with node1.flaxd() as daemon:
        node1.wait_for_peers("node3")
        daemon.wait_for("node9")

        assert "Traceback" not in daemon.log
        assert max(map(len, daemon.log.splitlines())) < 500
        assert "level=error" not in {line.split(" ")[0] for line in daemon.log.splitlines()}


def test_two_daemons_for_one_node(node1: KubernetesNode) -> None:
    """Of two daemons of one node one makes all changes, and the other as soon as that has ended."""
    with node1.flaxd() as first:
        first.wait_for("the overlay works")
        with node1.flaxd(state_dir=node1.host.folder / "other") as second:
            second.wait_for("another flaxd of network")
            announce(node1.plane, "node2")
            node1.wait_for_peers("node2")
            node1.plane.delete_node("node2")
            node1.wait_for_peers()

            announce(node1.plane, "node3")
            node1.wait_for_peers("node3")
            before = port_of(node1, "vxif10_245_0_3")
            # One that has not heard of node3 yet would take its tunnel for a leftover.
            wait_until(lambda: "node3" in second.state()["view"]["nodes"], "the second to know it")
            first.stop()
            announce(node1.plane, "node4")
            node1.wait_for_peers("node3", "node4")
            assert before == port_of(node1, "vxif10_245_0_3")


def port_of(node: KubernetesNode, name: str) -> list[str]:
    """The UUIDs of the ports of this name."""
    return [row["_uuid"] for row in node.host.records("Port") if row["name"] == name]


def test_older_and_newer_daemons(node1: KubernetesNode) -> None:
    """A Node of a newer version, with annotations that this one does not know, gets its tunnel."""
    announce(node1.plane, "node2", **{"linen-cni/version": "2", "linen-cni/future": "{}"})
    with node1.flaxd():
        node1.wait_for_peers("node2")


def test_faults_become_events(node1: KubernetesNode) -> None:
    """What an administrator must know about a Node is an Event there."""
    announce(node1.plane, "node9", **{"linen-cni/vtep": "nonsense"})
    with node1.flaxd():
        node1.wait_for_event("node9")


def test_kernel_that_keeps_answers_of_services_is_an_event(node1: KubernetesNode) -> None:
    """An administrator hears of a kernel by which services do not answer pods, from now on."""
    setting = "net.bridge.bridge-nf-call-iptables"
    node1.host.run("sysctl", "-w", f"{setting}=1")
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        assert not any(setting in note for note in node1.notes())

        node1.host.run("sysctl", "-w", f"{setting}=0")

        node1.wait_for_event(f"{setting} is 0")


def test_overlay_that_fails_for_long_is_reported(node1: KubernetesNode) -> None:
    """An overlay that stays broken makes the network unavailable; a short failure does not."""
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        wait_until(lambda: node1.condition().get("status") == "False", "the condition")

        killed = time.monotonic()
        node1.host.signal("KILL", "ovsdb-server")
        wait_until(lambda: node1.condition().get("status") == "True", "the condition")
        assert time.monotonic() - killed >= node_writer.GRACE
        assert "OVSDB" in node1.condition()["message"]


@pytest.fixture
def blue(node1: KubernetesNode) -> dict[str, Any]:
    """What a second network's daemon on node1 has of its own."""
    return {
        "network": "blue",
        "vni": 8,
        "ovs_bridge": "br1",
        "linux_bridge": "kbr1",
        "gateway": "none",
        "cluster_range": "10.99.0.0/16",
        "conflist": node1.settings["conflist"].with_name("multus.d") / "linen.conflist",
    }


def wait_until_written(node: KubernetesNode) -> None:
    """Return once the first network's daemon has written all that it has to tell of its Node."""
    wait_until(lambda: node.condition().get("status") == "False", "the last of what it writes")


def test_a_second_network(
    node1: KubernetesNode, node2: KubernetesNode, blue: dict[str, Any]
) -> None:
    """A second network's daemon finds its peers by what the first one's say of their Nodes.

    Its pods have addresses of its own, and it says of the Node what the first one does.
    """
    with node2.flaxd(), node1.flaxd():
        node1.wait_for_peers("node2")
        wait_until_written(node1)
        before = node1.plane.node("node1")["metadata"]["annotations"]
        with node1.flaxd(**blue):
            wait_until(blue["conflist"].exists, "the conflist")
            after = node1.plane.node("node1")["metadata"]["annotations"]

    (ranges,) = json.loads(blue["conflist"].read_text())["plugins"][0]["ipam"]["ranges"]
    assert (ranges[0]["subnet"], ranges[0]["rangeStart"]) == ("10.99.0.0/16", "10.99.1.2")
    tunnels = [row["options"] for row in node1.host.records("Interface", "options")]
    assert {"key": "8", "remote_ip": node2.vtep} in tunnels
    assert before == after


def test_a_second_network_writes_nothing(
    node1: KubernetesNode, node2: KubernetesNode, blue: dict[str, Any]
) -> None:
    """Its daemon leaves the Node as the first one's tells it, also where it would choose otherwise.

    Both would write for ever, and no tunnel live for longer than a second.
    """
    node1.host.run("ip", "link", "add", "other", "type", "bridge")
    node1.host.run("ip", "address", "add", "10.245.9.1/24", "dev", "other")
    node1.host.run("ip", "link", "set", "other", "up")
    with node2.flaxd(), node1.flaxd():
        node1.wait_for_peers("node2")
        wait_until_written(node1)
        before = node1.plane.node("node1")["metadata"]
        with node1.flaxd(**blue, vtep_interface="other") as daemon:
            wait_until(blue["conflist"].exists, "the conflist")
            # That a node is wrong it would tell after all else that it might have written.
            announce(node1.plane, "node9", **{"linen-cni/vtep": "nonsense"})
            daemon.wait_for("node9")
            node1.wait_for_event("node9", number=2)
            after = node1.plane.node("node1")["metadata"]

    assert before["resourceVersion"] == after["resourceVersion"]


def test_the_condition_is_the_first_networks(node1: KubernetesNode, blue: dict[str, Any]) -> None:
    """That a network without a gateway does not work is an Event, and not the Node's condition."""
    marks = ("external_ids:linen-network=other", "external_ids:linen-vni=9")
    node1.host.vsctl("add-br", "br1", "--", "set", "bridge", "br1", *marks)
    with node1.flaxd(**blue):
        node1.wait_for_event("belongs to network 'other'")
        assert node1.condition() == {}

        node1.host.vsctl("del-br", "br1")
        wait_until(blue["conflist"].exists, "the conflist")
        # An Event is the last of what a daemon writes.
        announce(node1.plane, "node9", **{"linen-cni/vtep": "nonsense"})
        node1.wait_for_event("node9")
        assert node1.condition() == {}


def test_api_server_that_was_never_reached(node1: KubernetesNode) -> None:
    """A daemon that has not heard of its own Node yet says why, where a probe shows it."""
    node1.plane.stop_api_server()
    with node1.flaxd() as daemon:
        daemon.wait_for("waiting: this node's tunnel address is not known yet")
        wait_until(lambda: "API server https://" in daemon.get("/readyz")[1], "the reason")

        status, reasons = daemon.get("/readyz")

    assert status == 503
    assert "this node's tunnel address is not known yet" in reasons
