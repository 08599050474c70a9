# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "A second network", with Multus itself, its thin plugin.

Multus is installed by its own manifest; the second network, its NetworkAttachmentDefinition and the
pods' annotation are the document's.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.cluster import multus, secondary
from support.cluster.cluster import PATIENCE
from support.cluster.inventory import inventory
from support.cluster.linen import NO_SWITCH
from support.cluster.pods import running_pods
from support.cluster.secondary import IFNAME, NAMES, NODES, address_of
from support.host import wait_until
from support.paths import CNITOOL, LINENCTL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster.linen import Linen
    from support.cluster.node import Node
    from support.cluster.pods import Pods

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * PATIENCE)]

STATUS = "k8s.v1.cni.cncf.io/network-status"  # an annotation that Multus gives to pods
TAINT = "node.kubernetes.io/network-unavailable"


@pytest.fixture(scope="module")
def first() -> Iterator[Linen]:
    """A cluster with a network, and Multus before it."""
    with secondary.running_first() as linen:
        multus.install(linen.cluster)
        yield linen


@pytest.fixture(scope="module")
def second(first: Linen) -> Path:
    """The document's second network, and its definition; its kustomization."""
    folder = secondary.configure(first.cluster)
    secondary.install(first, folder)
    define(first)
    return folder


@pytest.fixture(scope="module")
def pods(first: Linen, second: Path) -> Iterator[Pods]:  # noqa: ARG001 (it is there)
    """Pods in both networks, on two nodes."""
    annotation = secondary.annotation()
    with running_pods(first.cluster, "multus", *NAMES, annotations=annotation) as pods:
        yield pods


def define(first: Linen) -> None:
    """Apply the document's definition."""
    first.cluster.kubectl("apply", "--filename=-", stdin=secondary.definition())


@contextmanager
def speaking(node: Node, version: str) -> Iterator[None]:
    """A node whose runtime calls Multus by a version of CNI, whatever the manifest made it."""
    text = node.run("cat", multus.CONFLIST).stdout
    conflist = json.loads(text) | {"cniVersion": version}
    node.run("tee", multus.CONFLIST, stdin=json.dumps(conflist))
    try:
        yield
    finally:
        node.run("tee", multus.CONFLIST, stdin=text)


def status(node: Node) -> str:
    """What cnitool, as the runtime does, hears from Multus; empty if all is well."""
    variables = {"CNI_PATH": "/opt/cni/bin", "NETCONFPATH": "/etc/cni/net.d"}
    argv = (CNITOOL, "status", multus.NETWORK, "/proc/self/ns/net")
    done = node.run(*argv, env=variables, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def collect_garbage(node: Node) -> None:
    """Have Multus carry out GC, of which it knows itself what is none."""
    (entry,) = json.loads(node.run("cat", multus.CONFLIST).stdout)["plugins"]
    config = entry | {"name": multus.NETWORK, "cniVersion": "1.1.0"}
    variables = {"CNI_COMMAND": "GC", "CNI_PATH": "/opt/cni/bin"}
    node.run("/opt/cni/bin/multus", stdin=json.dumps(config), env=variables)


def taints(first: Linen, name: str) -> set[str]:
    """What keeps pods from a node."""
    return {one["key"] for one in first.cluster.plane.node(name)["spec"].get("taints", [])}


def test_a_node_has_its_part_of_both_ranges(pods: Pods) -> None:
    """A pod on the node of 10.244.N.0/24 has an address of 10.99.N.0/24 in the second network."""
    secondary.check_ranges(pods)


def test_pods_reach_one_another_in_both_networks(pods: Pods) -> None:
    """A pod reaches the other node's by each of its interfaces; its way out is the first one."""
    secondary.check_reach(pods)


def test_networks_are_apart(pods: Pods) -> None:
    """A pod without the annotation is in the first network alone; it reaches no other address."""
    secondary.check_isolation(pods)


def test_pod_says_its_networks(pods: Pods) -> None:
    """Multus writes to the pod what both networks have given it."""
    for name in NAMES:
        pod = json.loads(pods.cluster.kubectl("get", "pod", name, "-ojson"))
        told = json.loads(pod["metadata"]["annotations"][STATUS])
        found = [(one["name"], one["interface"], one["ips"], one.get("default")) for one in told]
        assert found == [
            ("linen-network", "eth0", [pods.addresses[name]], True),
            ("default/storage", IFNAME, [address_of(pods, name)], None),
        ]


@pytest.mark.usefixtures("pods")
def test_linenctl_finds_no_fault(first: Linen) -> None:
    """Nodes are Ready, and `linenctl check` has nothing against Multus before two networks."""
    for name, node in first.cluster.nodes.items():
        assert first.cluster.condition(name)["status"] == "True"
        assert node.faults() == []


@pytest.mark.parametrize("is_defined", [True, False], ids=["defined", "definition-deleted"])
def test_deleted_pod_leaves_nothing(first: Linen, pods: Pods, *, is_defined: bool) -> None:
    """A pod that ends leaves no address, port and link, also where its network's name has gone."""
    node = first.cluster.nodes[NODES[0]]
    before = inventory(node)
    name = f"{node.name}-ends"
    with running_pods(first.cluster, "ends", name, annotations=secondary.annotation()) as ends:
        address = address_of(ends, name)
        leases = {line.rpartition("/")[2] for line in inventory(node) - before}
        assert {address, ends.addresses[name]} <= leases
        if not is_defined:
            first.cluster.kubectl("delete", "--filename=-", stdin=secondary.definition())
    define(first)

    wait_until(lambda: inventory(node) == before, f"{node.name} to be as before", PATIENCE)
    assert address != address_of(pods, NAMES[0])


def test_node_whose_switch_ends(first: Linen, pods: Pods) -> None:
    """A node without ovs-vswitchd gets no new pods, with Multus' file as it is made, yet is Ready.

    That has no version of CNI in which a runtime asks for STATUS. With 1.1.0 in it Multus passes
    that on, and the node is NotReady in the plugin's words.
    """
    cluster, name = first.cluster, NODES[1]
    node = cluster.nodes[name]
    node.signal("KILL", "ovs-vswitchd")

    cluster.wait_for_condition(name, "NetworkUnavailable", "True", NO_SWITCH)
    wait_until(lambda: TAINT in taints(first, name), f"pods to be kept from {name}", PATIENCE)
    assert not status(node)
    assert cluster.condition(name)["status"] == "True"
    with speaking(node, "1.1.0"):
        assert NO_SWITCH in status(node)
        cluster.wait_for_condition(name, "Ready", "False", NO_SWITCH)
        node.start_ovs()
        cluster.wait_until_ready(name)

    cluster.wait_for_condition(name, "NetworkUnavailable", "False", "works on this node")
    secondary.check_reach(pods)


def test_garbage_is_no_pod_that_runs(first: Linen, pods: Pods) -> None:
    """CNI's GC, which Multus passes on to the first network, takes nothing of pods that run."""
    for node in first.cluster.nodes.values():
        before = inventory(node)
        collect_garbage(node)
        assert inventory(node) == before
    secondary.check_reach(pods)


def test_multus_has_a_copy(first: Linen, pods: Pods) -> None:
    """A value that is changed reaches pods once Multus, too, has been rolled out anew.

    Until then `linenctl check` on the node tells of it.
    """
    first.configure(vni="1", mtu="1400")
    first.apply()
    first.wait_until_rolled_out()
    node = first.cluster.nodes[NODES[0]]
    assert '"mtu":1400' not in node.run("cat", multus.CONFLIST).stdout
    assert "multus-copy" in node.faults()
    multus.restart(first.cluster)
    assert '"mtu":1400' in node.run("cat", multus.CONFLIST).stdout
    assert "multus-copy" not in node.faults()

    with running_pods(first.cluster, "changed", f"{node.name}-changed") as changed:
        (name,) = changed.addresses
        assert "mtu 1400" in changed.exec(name, "ip", "link", "show", "eth0")
        changed.wait_for_ping(name, pods.addresses[NAMES[1]])


def test_all_goes(first: Linen, pods: Pods, second: Path) -> None:
    """Without Multus, the second network and then the first, nodes have nothing of them.

    The second one's daemon ended before the first was deleted, so the document has a last command.
    """
    pods.delete()
    multus.delete(first.cluster)
    first.kubectl("delete", f"--kustomize={second}")
    secondary.wait_for_end(first, "linen-secondary")
    first.delete()
    secondary.wait_for_end(first, "linen")

    for node in first.cluster.nodes.values():
        node.run(*LINENCTL, *secondary.leftovers_command())
        secondary.check_traces(node)
        folders = ("/etc/cni", "/opt/cni/bin", "/var/lib/linen")
        assert not node.run("find", *folders, "!", "-type", "d").stdout
