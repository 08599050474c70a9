# SPDX-License-Identifier: Apache-2.0
"""The cluster's DNS server, by its service, from pods of all nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.pods import running_pods
from support.cluster.services import Service, ask, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.pods import Pods

PODS = ("node1-a", "node2-a", "node3-a")
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
    """A service called `named`."""
    return Service(pods, "named")


@pytest.mark.parametrize("place", PODS)
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dns(cluster: Cluster, named: Service, place: str, transport: str) -> None:
    """Every question for a service's name is answered, by UDP and TCP."""
    question = f"dig {transport} +tries=1 +time=5 +short named.default.svc.cluster.local"
    answers = run(cluster, place, f"for _ in $(seq {ENOUGH}); do {question}; done").split()
    assert answers == [named.address] * ENOUGH


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("place", PODS)
def test_programs_find_services_by_short_names(cluster: Cluster, place: str) -> None:
    """A program finds a service by its name alone, as pods' resolv.conf has it."""
    assert set(ask(cluster, place, "http://named/hostname", 4)) <= set(PODS)
