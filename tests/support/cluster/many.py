# SPDX-License-Identifier: Apache-2.0
"""A Deployment of many pods that do nothing, so that what costs time is to start and stop them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.cluster import images
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster

PATIENCE = 600  # seconds, for a hundred pods on a busy machine
_LABELS = {"tests": "many"}


class ManyPods:
    """The Deployment, at first without pods."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        cluster.apply(_deployment())

    def scale(self, replicas: int) -> None:
        """Have so many pods; return when they are ready, and the network of all others is gone."""
        self._cluster.kubectl("scale", "deployment/many", f"--replicas={replicas}")
        limit = f"--timeout={PATIENCE}s"
        self._cluster.kubectl("rollout", "status", "deployment/many", limit, timeout=PATIENCE + 5)
        wait_until(lambda: len(self.addresses()) == replicas, f"{replicas} pods", PATIENCE)

    def addresses(self) -> list[str]:
        """The addresses of all pods, one of each; empty for one that has none yet."""
        listed = self._cluster.kubectl("get", "pods", "--selector=tests=many", "--output=json")
        return [pod["status"].get("podIP", "") for pod in json.loads(listed)["items"]]

    def delete(self) -> None:
        """Take the Deployment away, with its pods."""
        self._cluster.kubectl("delete", "deployment/many", "--cascade=foreground")


def _deployment() -> dict[str, Any]:
    pod = {
        # Not 0: the API server would forget a pod at once, and not when kubelet has ended it.
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [{"name": "pause", "image": images.PAUSE}],
    }
    spec = {
        "replicas": 0,
        "progressDeadlineSeconds": PATIENCE,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
    metadata = {"name": "many", "labels": _LABELS}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
