# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster to measure flaxd in: a real API server, and nodes that run the daemon.

Further Nodes exist in the API server alone, with all that a kubelet, the controllers and a daemon
would have written there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import workers
from support.control_plane import temporary_control_plane
from support.kubernetes_nodes import KubernetesNode, KubernetesNodes, address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.control_plane import ControlPlane


@contextmanager
def running_cluster() -> Iterator[KubernetesNodes]:
    """A cluster without nodes, with flaxd's roles and policies."""
    with temporary_control_plane() as plane:
        plane.add_rights_of_flaxd()
        with KubernetesNodes(plane) as cluster:
            yield cluster


def add_node(cluster: KubernetesNodes, number: int) -> KubernetesNode:
    """A node that has its address and its pod range, and whose daemon does not run yet."""
    node = cluster.add(f"node{number}")
    node.register()
    return node


def pod_range(number: int) -> str:
    """The pods' addresses on node `number`, also beyond 255 nodes."""
    return f"10.{244 + (number >> 8)}.{number & 255}.0/24"


def add_worker(plane: ControlPlane, number: int) -> None:
    """A Node whose daemon has published its address."""
    name = f"node{number}"
    workers.add_worker(plane, name, address_of(name), pod_range(number))
