# SPDX-License-Identifier: Apache-2.0
"""A cluster: a whole control plane, and nodes whose kubelets run real containers.

Everything of it ends with the process that runs it, in whatever way that ends.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.cluster import addressing, disks
from support.cluster.fabric import Fabric, running_fabric
from support.cluster.node import Node
from support.control_plane import ControlPlane, running_control_plane
from support.host import wait_until
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.cluster.addressing import Addressing

PATIENCE = 180  # seconds, for what takes some on a machine that has nothing else to do
IMAGES = KUBERNETES.parent / "images"
_DNS = Path(__file__).with_name("coredns.yaml")
_FIRST_NUMBER = 11  # node1 is 10.245.2.11


class Cluster:
    """A running cluster; see `running_cluster`."""

    def __init__(
        self, folder: Path, fabric: Fabric, plane: ControlPlane, addresses: Addressing
    ) -> None:
        self.folder = folder
        self.fabric = fabric
        self.plane = plane
        self.nodes: dict[str, Node] = {}
        self.addresses = addresses
        self._url = f"https://{addressing.in_url(fabric.address)}:{plane.port}"
        self.kubeconfig = plane.admin_kubeconfig(self._url)
        manager = {"allocate-node-cidrs": "true", "cluster-cidr": addresses.pods}
        plane.start_controllers(
            {
                "kube-controller-manager": plane.controller_manager_flags() | manager,
                "kube-scheduler": {},
            }
        )

    # --- nodes ---

    def add_nodes(
        self,
        *names: str,
        images: Sequence[Path] = (),
        has_ovs: bool = True,
        proxy_mode: str = "nftables",
    ) -> None:
        """Start nodes whose runtime has all images of the tests and these archives."""
        made = []
        for name in names:
            number = _FIRST_NUMBER + len(self.nodes)
            folder = self.folder / name
            node = Node(
                folder,
                name,
                number,
                self.addresses,
                has_ovs=has_ovs,
                proxy_mode=proxy_mode,
            )
            node.configure(self.plane, self._url)
            self.nodes[name] = node
            made.append(node)
        archives = [*sorted(IMAGES.glob("*.tar")), *images]
        assert archives, f"{IMAGES} is empty: run scripts/setup kubernetes"
        for node in made:
            disks.prepare(node.disk, archives, lambda folder: self._unpack(folder, archives))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.boot(self.fabric), made))
        for node in made:
            self.wait_for_pod_range(node)

    def _unpack(self, folder: Path, archives: Sequence[Path]) -> None:
        """Be a node for as long as it takes the runtime to unpack these."""
        number = _FIRST_NUMBER - 1
        node = Node(
            folder, "template", number, self.addresses, has_ovs=False, proxy_mode="nftables"
        )
        try:
            node.boot_runtime(self.fabric)
            for archive in archives:
                node.load_image(archive)
        finally:
            node.switch_off()

    def wait_for_pod_range(self, node: Node) -> None:
        """Return when the node has its part of the pod network, and the control plane its route.

        (The API server's proxy to pods uses that, as on a cloud whose routers know pods.)
        """

        def pod_range() -> str:
            found = self.plane.admin.get(f"/api/v1/nodes/{node.name}").json()
            return str(found.get("spec", {}).get("podCIDR", ""))

        wait_until(pod_range, f"{node.name} to register, whose logs are in {node.folder}", 60)
        self.fabric.run("ip", "route", "replace", pod_range(), "via", node.address)

    def close(self) -> None:
        """End all nodes."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.switch_off, self.nodes.values()))

    # --- Kubernetes ---

    def kubectl(self, *argv: str, stdin: str = "", timeout: float = PATIENCE) -> str:
        """What an administrator's kubectl prints; a failure of it fails the test."""
        done = subprocess.run(
            self.kubectl_command(*argv),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == 0, f"kubectl {' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def kubectl_command(self, *argv: str) -> list[str]:
        """The command line of an administrator's kubectl."""
        kubectl = [*self.fabric.inside, str(KUBERNETES / "kubectl")]
        return [*kubectl, f"--kubeconfig={self.kubeconfig}", *argv]

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--filename=-", stdin=json.dumps(listed))

    def condition(self, node: str, kind: str = "Ready") -> dict[str, Any]:
        """A condition of a Node; empty while there is none."""
        found = self.plane.node(node)["status"].get("conditions", [])
        return next((one for one in found if one["type"] == kind), {})

    def wait_until_ready(self, *names: str, seconds: float = PATIENCE) -> None:
        """Return when these nodes, or all, are Ready."""
        wanted = names or tuple(self.nodes)

        def ready() -> bool:
            return all(self.condition(name).get("status") == "True" for name in wanted)

        wait_until(ready, f"{', '.join(wanted)} to be Ready; logs are in {self.folder}", seconds)

    def wait_for_condition(self, node: str, kind: str, status: str, words: str) -> None:
        """Return when a condition of a Node has this status, and these words in its message."""

        def says() -> bool:
            found = self.condition(node, kind)
            return found.get("status") == status and words in found["message"]

        wait_until(says, f"{kind} of {node} to be {status} because of {words!r}", PATIENCE)

    def add_dns(self) -> None:
        """Start the cluster's DNS server; return when it serves."""
        manifest = _DNS.read_text(encoding="utf-8").replace("CLUSTER_IP", f'"{self.addresses.dns}"')
        self.kubectl("apply", "--filename=-", stdin=manifest)
        self.kubectl("--namespace=kube-system", "rollout", "status", "deployment/coredns")

    def delete_dns(self) -> None:
        """Take the DNS server away, with its pods."""
        self.kubectl("delete", f"--filename={_DNS}", "--cascade=foreground")


@contextmanager
def running_cluster(addresses: Addressing = addressing.IPV4) -> Iterator[Cluster]:
    """A cluster without nodes, that ends when the block does."""
    names = [addresses.api_server, "kubernetes.default.svc"]
    with (
        disks.cluster_folder() as folder,
        running_fabric(addresses) as fabric,
        running_control_plane(folder, names, fabric, addresses.services) as plane,
    ):
        cluster = Cluster(folder, fabric, plane, addresses)
        try:
            yield cluster
        finally:
            cluster.close()
