# SPDX-License-Identifier: Apache-2.0
"""Pods that come and go in large numbers leave nothing behind."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.cluster.inventory import ADDRESS, OF_ONE_POD, inventory
from support.cluster.many import PATIENCE, ManyPods
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster

PODS = 100
SETTLING = 180  # seconds from the last pod's end to the end of its traces


@pytest.fixture
def many(cluster: Cluster) -> Iterator[ManyPods]:
    """A Deployment without pods yet."""
    many = ManyPods(cluster)
    yield many
    many.delete()


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, marks=pytest.mark.timeout(3 * PATIENCE)),
        pytest.param(10, marks=[pytest.mark.long, pytest.mark.timeout(15 * PATIENCE)]),
    ],
)
def test_pods_leave_nothing(cluster: Cluster, many: ManyPods, rounds: int) -> None:
    """A hundred pods that were started and stopped leave the nodes as they were, each time.

    Nodes that have had pods, that is: with their first one, plugins make bridges and tables that
    stay for the next.
    """
    many.scale(2 * len(cluster.nodes))
    many.scale(0)
    no_traces = partial(are_without_pods, cluster)
    wait_until(no_traces, "what the first pods leave behind for a while to go", SETTLING)
    before = inventories(cluster)

    def changes() -> dict[str, list[str]]:
        now = inventories(cluster)
        return {name: sorted(now[name] ^ was) for name, was in before.items() if now[name] != was}

    for _ in range(rounds):
        many.scale(PODS)
        check_pods(cluster, many.addresses())
        many.scale(0)
        with suppress(AssertionError):  # the next one says what is left
            wait_until(lambda: not changes(), "the nodes to be as before", SETTLING)
        assert not changes()


def check_pods(cluster: Cluster, addresses: list[str]) -> None:
    """Each pod has an address of its own, at which its node reaches it; all nodes have pods."""
    assert len(set(addresses)) == len(addresses) == PODS
    for node in cluster.nodes.values():
        start = cluster.plane.node(node.name)["spec"]["podCIDR"].removesuffix("0/24")
        own = [address for address in addresses if address.startswith(start)]
        assert own, f"{node.name} has no pods"
        assert not missing(inventory(node), own)
        script = "for pod; do ping -qc1 -w30 $pod || exit 1; done"
        node.run("sh", "-c", script, "sh", *own, timeout=PATIENCE)


def missing(found: set[str], addresses: list[str]) -> set[str]:
    """Which of these have no lease in an inventory: one that sees nothing would prove nothing."""
    leases = {line.rpartition("/")[2] for line in found if line.startswith(ADDRESS)}
    return set(addresses) - leases


def are_without_pods(cluster: Cluster) -> bool:
    """Whether there is nothing on any node that belongs to one pod alone."""
    kinds = tuple(f"{kind}: " for kind in OF_ONE_POD)
    return not any(
        line.startswith(kinds) for node in inventories(cluster).values() for line in node
    )


def inventories(cluster: Cluster) -> dict[str, set[str]]:
    """What there is on each node."""
    return {name: inventory(node) for name, node in cluster.nodes.items()}
