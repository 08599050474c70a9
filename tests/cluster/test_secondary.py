# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "A second network": pods of real kubelets in two networks of Linen.

The second DaemonSet is that of the document. Multus' part is played by cnitool, which attaches a
pod's second interface after kubelet has started the pod, and detaches it before it ends.
"""

from __future__ import annotations

import json
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from linen.host.conflists import SECONDARY_CONF_DIR
from support.cluster.cluster import PATIENCE, running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pods import running_pods
from support.host import wait_until
from support.paths import CHECKOUT, CNITOOL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster.node import Node
    from support.cluster.pods import Pods

NODES = ("node1", "node2")
NAMES = ("node1-both", "node2-both")
ALONE = "node2-alone"  # in the first network
NETWORK, IFNAME = "storage", "net1"
GUIDE = CHECKOUT / "docs" / "kubernetes.md"
LEASES = f"/var/lib/cni/networks/{NETWORK}"


@pytest.fixture(scope="module")
def first() -> Iterator[Linen]:
    """A cluster of its own, whose network has a VNI, as it should where there is another one."""
    with running_cluster() as cluster:
        cluster.add_nodes(*NODES, images=[image("linen")])
        linen = Linen(cluster, vni="1")
        linen.install()
        yield linen


@pytest.fixture(scope="module")
def second(first: Linen) -> Path:
    """The document's second network beside it; its kustomization."""
    (text,) = re.findall(r"```yaml\n(# my-second-.*?)```", GUIDE.read_text(), re.DOTALL)
    folder = first.cluster.folder / "my-second-network"
    folder.mkdir()
    text = text.replace("../linen/", f"{os.path.relpath(CHECKOUT, folder)}/")
    # Its last lines are settings; as for the first network, packets are switched in userspace.
    (folder / "kustomization.yaml").write_text(f"{text}      - LINEN_DATAPATH_TYPE=netdev\n")
    install(first, folder)
    return folder


def install(first: Linen, second: Path) -> None:
    """Apply the second network; return when it works on all nodes."""
    first.kubectl("apply", f"--kustomize={second}")
    limit = f"--timeout={PATIENCE - 5}s"
    first.kubectl("rollout", "status", "daemonset/linen-secondary", limit)


@pytest.fixture(scope="module")
def pods(first: Linen, second: Path) -> Iterator[Pods]:  # noqa: ARG001 (it is there)
    """Pods in both networks, on two nodes."""
    with running_pods(first.cluster, "secondary", *NAMES) as pods:
        for name in NAMES:
            attach(pods, name, "add")
        yield pods


def attach(pods: Pods, name: str, command: str) -> dict[str, Any]:
    """What cnitool says to a command for a pod's second interface."""
    node = pods.cluster.nodes[pods.nodes[name]]
    found = pods.exec(name, "stat", "-L", "-c%i", "/proc/self/ns/net").strip()
    # Of pods that have just ended a file may vanish meanwhile, which `stat` says and goes on.
    listed = node.run("sh", "-c", "stat -c '%i %n' /run/netns/*", check=False).stdout
    (namespace,) = (path for inode, path in map(str.split, listed.splitlines()) if inode == found)
    variables = {
        "CNI_PATH": "/opt/cni/bin",
        "NETCONFPATH": SECONDARY_CONF_DIR,
        "CNI_IFNAME": IFNAME,
    }
    said = node.run(CNITOOL, command, NETWORK, namespace, env=variables).stdout
    answer: dict[str, Any] = json.loads(said or "{}")
    return answer


def address_of(pods: Pods, name: str) -> str:
    """A pod's address in the second network."""
    (link,) = json.loads(pods.exec(name, "ip", "-json", "-4", "address", "show", IFNAME))
    (address,) = link["addr_info"]
    return str(address["local"])


def test_a_node_has_its_part_of_both_ranges(pods: Pods) -> None:
    """A pod on the node of 10.244.N.0/24 has an address of 10.99.N.0/24 in the second network."""
    for name in NAMES:
        third = pods.cluster.plane.node(pods.nodes[name])["spec"]["podCIDR"].split(".")[2]
        assert address_of(pods, name).startswith(f"10.99.{third}.")
        assert pods.addresses[name].startswith(f"10.244.{third}.")


def test_pods_reach_one_another_in_both_networks(pods: Pods) -> None:
    """A pod reaches the other node's by each of its interfaces; its way out is the first one."""
    one, other = NAMES
    for link, address in ("eth0", pods.addresses[other]), (IFNAME, address_of(pods, other)):
        pods.exec(one, "ping", "-c1", "-w30", f"-I{link}", address)
        attach(pods, one, "check")
    routes = pods.exec(one, "ip", "route", "show", "default").splitlines()
    assert [route.split()[4] for route in routes] == ["eth0"]


def test_networks_are_apart(pods: Pods) -> None:
    """A pod that is in the first network alone reaches no address of the second."""
    with running_pods(pods.cluster, "first-alone", ALONE) as alone:
        alone.wait_for_ping(ALONE, pods.addresses[NAMES[0]])
        with pytest.raises(AssertionError, match="100% packet loss"):
            alone.exec(ALONE, "ping", "-c3", "-i0.2", "-W1", address_of(pods, NAMES[0]))


@pytest.mark.usefixtures("pods")
def test_linenctl_finds_no_fault(first: Linen) -> None:
    """`linenctl check` has nothing against two networks that go together."""
    for node in first.cluster.nodes.values():
        assert node.faults() == []


def test_daemon_goes_and_the_network_stays(first: Linen, pods: Pods, second: Path) -> None:
    """`kubectl delete -k` of the second network ends its daemon, and packets go on."""
    first.kubectl("delete", f"--kustomize={second}")
    wait_until(lambda: not first.pods("linen-secondary"), "the second daemon to end", PATIENCE)

    pods.exec(NAMES[0], "ping", "-c1", "-w30", f"-I{IFNAME}", address_of(pods, NAMES[1]))
    for node in first.cluster.nodes.values():
        assert conflists(node) == ["linen.conflist"]
    install(first, second)


def test_both_go_with_the_first(first: Linen, pods: Pods) -> None:
    """Deleting the first installation takes both networks off each node."""
    for name in NAMES:
        attach(pods, name, "del")
    pods.delete()
    first.delete()

    for name in "linen", "linen-secondary":
        wait_until(partial(has_ended, first, name), f"{name} to end", PATIENCE)
    for node in first.cluster.nodes.values():
        assert not {"br0", "br1", "kbr0", "kbr1"} & node.links().keys()
        assert node.vsctl("list-br") == "br-phy"
        assert not conflists(node)
        assert not node.run("find", LEASES, "-name", "10.*").stdout


def has_ended(linen: Linen, name: str) -> bool:
    """Whether no pod of a DaemonSet is there."""
    return not linen.pods(name)


def conflists(node: Node) -> list[str]:
    """The files in Multus' folder."""
    return node.run("ls", SECONDARY_CONF_DIR).stdout.split()
