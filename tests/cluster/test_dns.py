# SPDX-License-Identifier: Apache-2.0
"""The cluster's DNS server, by its service, from pods of all nodes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.cluster.cluster import PATIENCE
from support.cluster.pods import running_pods
from support.cluster.services import Service, ask, run
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.node import Node
    from support.cluster.pods import Pods

PODS = ("node1-a", "node2-a", "node3-a")
NAME = "named.default.svc.cluster.local"
ENOUGH = 20  # questions: the server has a pod on two nodes, and each must have been asked


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """A pod on each node, on a cluster with DNS."""
    installed.cluster.add_dns()
    with running_pods(installed.cluster, "dns", *PODS) as pods:
        yield pods
    installed.cluster.delete_dns()


@pytest.fixture(scope="module")
def named(pods: Pods) -> Service:
    """A service called `named`, of which each pod of the server has heard."""
    service = Service(pods, "named")
    node = pods.cluster.nodes["node1"]
    servers = ("--namespace=kube-system", "get", "pods", "--selector=k8s-app=kube-dns")
    found = pods.cluster.kubectl(*servers, "--output=jsonpath={.items[*].status.podIP}").split()
    assert len(found) == 2
    for address in found:
        question = ("dig", "+time=5", "+short", f"@{address}", NAME)
        known = partial(is_answered, node, question, service.address)
        wait_until(known, f"{address} to know {NAME}", PATIENCE)
    return service


def is_answered(node: Node, question: Sequence[str], answer: str) -> bool:
    """Whether a question that is asked on a node gets this answer."""
    return node.run(*question, check=False).stdout.strip() == answer


@pytest.mark.parametrize("place", PODS)
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dns(cluster: Cluster, named: Service, place: str, transport: str) -> None:
    """Every question for a service's name is answered, by UDP and TCP.

    One that is lost may be repeated once. If a pod of the server were not reached, that would not
    help: that all have an answer at the second attempt happens once in 300 times (0.75 ^ 20).
    """
    question = f"dig {transport} +tries=2 +time=5 +short {NAME}"
    answers = run(cluster, place, f"for _ in $(seq {ENOUGH}); do {question}; done").split()
    assert answers == [named.address] * ENOUGH


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("place", PODS)
def test_programs_find_services_by_short_names(cluster: Cluster, place: str) -> None:
    """A program finds a service by its name alone, as pods' resolv.conf has it."""
    assert set(ask(cluster, place, "http://named/hostname", 4)) <= set(PODS)
