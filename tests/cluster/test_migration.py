# SPDX-License-Identifier: Apache-2.0
"""docs/migration.md, "From flannel": its commands as they stand there, on a cluster that has it."""

from __future__ import annotations

import logging
import re
import shlex
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from support.cluster import flannel
from support.cluster.cluster import PATIENCE, Cluster, running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pods import HTTP_PORT, running_pods, template
from support.cluster.services import Service, ask
from support.cni import Json
from support.host import wait_until
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.node import Node
    from support.cluster.pods import Pods

log = logging.getLogger("migration")

pytestmark = [pytest.mark.long, pytest.mark.timeout(4 * PATIENCE)]

NODES = ("node1", "node2")
HOST_PORT = 8888
DOCUMENT = CHECKOUT / "docs" / "migration.md"
FLANNELS = re.compile("flannel|cni0|cbr0", re.IGNORECASE)
ENOUGH = 48  # calls of a service with four pods, so that each is among those who answer
COMMAND = re.compile(r"^ *([$#]) (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Nodes with flannel, and no Open vSwitch."""
    with running_cluster() as cluster:
        images = [image("linen"), image("linen-ovs")]
        cluster.add_nodes(*NODES, images=images, has_ovs=False)
        flannel.install(cluster)
        yield cluster


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[Pods]:
    """A pod on each node that a drain evicts, and one with a hostPort that it leaves there."""
    with running_pods(cluster, "migration") as pods:
        port = {"containerPort": HTTP_PORT, "hostPort": HOST_PORT}
        cluster.apply(
            workload(pods, "Deployment", "movable", replicas=len(NODES)),
            workload(pods, "DaemonSet", "everywhere", port),
        )
        yield pods
        cluster.kubectl("delete", "daemonset", "everywhere", "--cascade=foreground")


def workload(pods: Pods, kind: str, name: str, *ports: Json, **spec: int) -> Json:
    """A Deployment or DaemonSet with not more than one pod on a node."""
    labels = pods.labels | {"pod": name}
    selector = {"matchLabels": labels}
    hosts = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [hosts]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": pods.labels},
        "spec": spec | {"selector": selector, "template": template(labels, ports, affinity=apart)},
    }


def steps(chapter: str) -> list[tuple[str, str]]:
    """The document's commands, each with its prompt."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"## {chapter}\n")[2]
    found = COMMAND.findall(text.partition("\n## ")[0])
    assert found
    return found


def carry_out(cluster: Cluster, step: tuple[str, str], meanings: dict[str, str]) -> None:
    """Do what a line of the document says: `#` on each node, `$` as the cluster's administrator."""
    prompt, command = step
    for word, meaning in meanings.items():
        command = command.replace(word, meaning)
    if prompt == "#":
        for node in cluster.nodes.values():
            node.run("sh", "-c", command)
    else:
        program, *argv = shlex.split(command)
        assert program == "kubectl"
        cluster.kubectl(*argv)


def settle(pods: Pods) -> None:
    """Return when all pods are Ready and those of before are gone."""
    cluster = pods.cluster
    for workload in ("deployment/movable", "daemonset/everywhere"):
        limit = f"--timeout={PATIENCE - 5}s"
        cluster.kubectl("rollout", "status", workload, limit)
    selected = ("get", "pods", f"--selector={pods.selector}", "--output=name")
    wait_until(lambda: len(cluster.kubectl(*selected).split()) == 2 * len(NODES), "pods", PATIENCE)
    pods.addresses.clear()
    pods.wait_until_ready()


def try_network(pods: Pods, service: Service) -> None:
    """Pods reach one another, a service and hostPorts."""
    cluster = pods.cluster
    for source, target in permutations(pods.addresses, 2):
        pods.exec(source, "ping", "-c1", "-w30", pods.addresses[target])
    for place in (*pods.addresses, *NODES):
        answers = ask(cluster, place, f"http://{service.address}/hostname", ENOUGH)
        assert set(answers) == set(pods.addresses)
        for node in cluster.nodes.values():
            (answer,) = ask(cluster, place, f"http://{node.address}:{HOST_PORT}/hostname")
            assert answer.startswith("everywhere-")
            assert pods.nodes[answer] == node.name


def traces(node: Node) -> list[str]:
    """What is left of flannel on a node: files, links, routes, rules."""
    files = "find /etc/cni /opt/cni/bin /run/flannel /var/lib/cni"
    everything = f"{files}; ip -oneline link; ip route; nft list ruleset"
    lines = node.run("sh", "-c", everything).stdout.splitlines()
    return [line for line in lines if FLANNELS.search(line)]


def test_steps_lead_from_flannel_to_linen(cluster: Cluster, pods: Pods) -> None:
    """After the steps all works as before, with Linen's network, and nothing of flannel is left."""
    settle(pods)
    service = Service(pods, "everybody")
    try_network(pods, service)
    linen = Linen(cluster, "bundled-ovs")
    meanings = {
        "NODE...": " ".join(NODES),
        "NAMESPACE": "default",
        "daemonset NAME": "daemonset everywhere",
        "LABEL": "pod=everywhere",
        "kube-flannel.yml": str(flannel.MANIFEST),
        "deploy/bundled-ovs": str(linen.folder),
    }
    for step in steps("From flannel"):
        carry_out(cluster, step, meanings)
        for node in cluster.nodes.values():
            log.info("%s: after %s linenctl finds %s", node.name, step[1], node.faults())
    settle(pods)

    linen.wait_for_tunnels(NODES)
    try_network(pods, service)
    for node in cluster.nodes.values():
        assert node.faults() == []
        assert traces(node) == []
