# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "A second network": pods of real kubelets in two networks of Linen.

The second DaemonSet is that of the document. Multus' part is played by cnitool, which attaches a
pod's second interface after kubelet has started the pod, and detaches it before it ends;
test_multus.py has the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.host.conflists import SECONDARY_CONF_DIR
from support.cluster import secondary
from support.cluster.pods import running_pods
from support.cluster.secondary import IFNAME, NAMES, NETWORK, address_of, conflists
from support.paths import CNITOOL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster.linen import Linen
    from support.cluster.pods import Pods


@pytest.fixture(scope="module")
def first() -> Iterator[Linen]:
    """A cluster of its own, with its network."""
    with secondary.running_first() as linen:
        yield linen


@pytest.fixture(scope="module")
def second(first: Linen) -> Path:
    """The document's second network beside it; its kustomization."""
    folder = secondary.configure(first.cluster)
    secondary.install(first, folder)
    return folder


@pytest.fixture(scope="module")
def pods(first: Linen, second: Path) -> Iterator[Pods]:  # noqa: ARG001 (it is there)
    """Pods in both networks, on two nodes."""
    with running_pods(first.cluster, "secondary", *NAMES) as pods:
        for name in NAMES:
            attach(pods, name, "add")
        yield pods


def attach(pods: Pods, name: str, command: str) -> None:
    """Have cnitool carry out a command for a pod's second interface."""
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
    node.run(CNITOOL, command, NETWORK, namespace, env=variables)


def test_a_node_has_its_part_of_both_ranges(pods: Pods) -> None:
    """A pod on the node of 10.244.N.0/24 has an address of 10.99.N.0/24 in the second network."""
    secondary.check_ranges(pods)


def test_pods_reach_one_another_in_both_networks(pods: Pods) -> None:
    """A pod reaches the other node's by each of its interfaces; its way out is the first one."""
    secondary.check_reach(pods)
    attach(pods, NAMES[0], "check")


def test_networks_are_apart(pods: Pods) -> None:
    """A pod that is in the first network alone reaches no address of the second."""
    secondary.check_isolation(pods)


@pytest.mark.usefixtures("pods")
def test_linenctl_finds_no_fault(first: Linen) -> None:
    """`linenctl check` has nothing against two networks that go together."""
    for node in first.cluster.nodes.values():
        assert node.faults() == []


def test_daemon_goes_and_the_network_stays(first: Linen, pods: Pods, second: Path) -> None:
    """`kubectl delete -k` of the second network ends its daemon, and packets go on."""
    first.kubectl("delete", f"--kustomize={second}")
    secondary.wait_for_end(first, "linen-secondary")

    pods.exec(NAMES[0], "ping", "-c1", "-w30", f"-I{IFNAME}", address_of(pods, NAMES[1]))
    for node in first.cluster.nodes.values():
        assert conflists(node) == ["linen.conflist"]
    secondary.install(first, second)


def test_both_go_with_the_first(first: Linen, pods: Pods) -> None:
    """Deleting the first installation takes both networks off each node."""
    for name in NAMES:
        attach(pods, name, "del")
    pods.delete()
    first.delete()

    secondary.wait_for_end(first, "linen", "linen-secondary")
    for node in first.cluster.nodes.values():
        secondary.check_traces(node)
