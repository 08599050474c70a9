# SPDX-License-Identifier: Apache-2.0
"""Pods of the tests, which run agnhost, and what can be asked of them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from support.cluster import images
from support.cluster.cluster import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.cluster.cluster import Cluster

FILES_PORT = 8000  # HTTP: the files of the pod itself
HTTP_PORT = 8080  # /hostname, /clientip…: what netexec of agnhost can do
UDP_PORT = 8081  # "hostname", "clientip"…: the same, a packet for each answer
# UDP at the pod's addresses alone: on a node's network, with many, answers might come from another.
_SERVERS = (
    f"/agnhost test-webserver --port={FILES_PORT} & "
    f"exec /agnhost netexec --http-port={HTTP_PORT}"
    f" --udp-port={UDP_PORT} --udp-listen-addresses=$ADDRESSES"
)


def template(
    labels: dict[str, str], ports: Sequence[dict[str, Any]] = (), **spec: Any
) -> dict[str, Any]:
    """A pod's metadata and spec, with one container that serves; `spec` has what else it has."""
    container = {
        "name": "agnhost",
        "image": images.AGNHOST,
        "command": ["sh", "-c", _SERVERS],
        "ports": list(ports),
        "env": [{"name": "ADDRESSES", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}],
        "readinessProbe": {"httpGet": {"port": HTTP_PORT, "path": "/"}, "periodSeconds": 1},
    }
    # Not 0: the API server would forget a pod at once, and not when kubelet has ended it.
    common = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"metadata": {"labels": labels}, "spec": common | spec}


class Pods:
    """Pods of one label, which are all deleted at the end.

    `addresses`: the pods' own, by name; `nodes`: the names of their nodes.
    """

    def __init__(self, cluster: Cluster, group: str) -> None:
        self.cluster = cluster
        self.labels = {"tests": group}
        self.selector = f"tests={group}"
        self.addresses: dict[str, str] = {}
        self.nodes: dict[str, str] = {}

    def create(
        self,
        *names: str,
        ports: Sequence[dict[str, Any]] = (),
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Start pods, and return when they are Ready. A pod NODE-WORD is put on NODE.

        Each has a label `pod` with its name, by which a service can choose it.
        """
        head = {"apiVersion": "v1", "kind": "Pod"}
        objects = []
        for name in names:
            labels = self.labels | {"pod": name}
            made = template(labels, ports, nodeName=name.partition("-")[0], **spec)
            made["metadata"] |= {"name": name, "annotations": annotations or {}}
            objects.append(head | made)
        self.cluster.apply(*objects)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when all are Ready."""
        selected = f"--selector={self.selector}"
        self.cluster.kubectl(
            "wait",
            "pods",
            selected,
            "--for=condition=Ready",
            f"--timeout={PATIENCE}s",
            timeout=PATIENCE + 5,
        )
        for pod in json.loads(self.cluster.kubectl("get", "pods", selected, "-ojson"))["items"]:
            name = pod["metadata"]["name"]
            self.addresses[name] = pod["status"]["podIP"]
            self.nodes[name] = pod["spec"]["nodeName"]

    def exec(self, pod: str, *argv: str, timeout: float = PATIENCE) -> str:
        """What a command prints that runs in a pod; its failure fails the test."""
        return self.cluster.kubectl("exec", pod, "--", *argv, timeout=timeout)

    def wait_for_ping(self, source: str, address: str) -> None:
        """Return when a pod's ping is answered: at once, but on a machine that is too busy."""
        self.exec(source, "sh", "-c", f"until ping -c1 -W2 {address}; do sleep 0.1; done")

    def delete(self) -> None:
        """Delete them all, and return when their network is gone, too."""
        kinds = "deployments,services,pods"  # in foreground: deployments with all their pods
        self.cluster.kubectl("delete", kinds, f"--selector={self.selector}", "--cascade=foreground")


@contextmanager
def running_pods(cluster: Cluster, group: str, *names: str, **spec: Any) -> Iterator[Pods]:
    """Pods that are Ready, and more if the block makes some; all are deleted when it ends."""
    pods = Pods(cluster, group)
    try:
        if names:
            pods.create(*names, **spec)
        yield pods
    finally:
        pods.delete()
