# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster to measure flaxd in: a real API server, and nodes that run the daemon.

Further Nodes exist in the API server alone, with all that a kubelet, the controllers and a daemon
would have written there.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import workers
from support.clusters import Cluster, KubernetesNode, address_of
from support.kubernetes import ControlPlane, running_control_plane
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "linen-system"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster without nodes, with flaxd's roles and policies."""
    with (
        tempfile.TemporaryDirectory(prefix="linen-bench-") as folder,
        running_control_plane(Path(folder)) as plane,
    ):
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        manifests = CHECKOUT / "deploy" / "base"
        plane.apply(manifests / "rbac.yaml", manifests / "policy.yaml")
        with Cluster(plane) as cluster:
            yield cluster


def add_node(cluster: Cluster, number: int) -> KubernetesNode:
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
