# SPDX-License-Identifier: Apache-2.0
"""Linen on a cluster, from deploy/ and the images that scripts/image built."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from linen import __version__
from linen.rollout.manifests import NAMESPACE
from support.cluster.addressing import IPV4
from support.cluster.cluster import PATIENCE, running_cluster
from support.host import DATAPATH, wait_until
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.cluster.addressing import Addressing
    from support.cluster.cluster import Cluster

CONFLIST = "/etc/cni/net.d/linen.conflist"
NO_SWITCH = "ovs-vswitchd is not running"  # what the plugin says of it, and flaxd
_LEASES = "/var/lib/cni/networks/linen-network"

# Where Open vSwitch switches in userspace, the tunnels' address is on a bridge of its own
# (`fabric`). The kernel's datapath is Linen's default.
_SETTINGS = {
    "netdev": {"LINEN_DATAPATH_TYPE": "netdev", "LINEN_VTEP_INTERFACE": "br-phy"},
    "system": {"LINEN_VTEP_INTERFACE": "eth1"},
}[DATAPATH]

# Another folder than scripts/image's, to test images that were built elsewhere.
_IMAGES = Path(os.environ.get("TEST_IMAGES", CHECKOUT / "dist"))

_NODES = ("node1", "node2", "node3")
_BUNDLED, _STAR, _CONTROLLER = "bundled-ovs", "star", "controller"
_NEEDED = {_BUNDLED: "linen-ovs", _CONTROLLER: "linen-controller"}  # by overlay, besides linen


def image(name: str) -> Path:
    """The archive of one of Linen's images."""
    path = _IMAGES / f"{name}-{__version__}.oci.tar"
    assert path.exists(), f"{path} is not there: run scripts/image"
    return path


class Linen:
    """An overlay of deploy/ with settings of the tests, to be applied and deleted.

    `folder`: its kustomization.
    """

    def __init__(self, cluster: Cluster, overlay: str = "host-ovs", **settings: str) -> None:
        self.cluster = cluster
        self.folder = cluster.folder / f"linen-{overlay}"
        self._overlay = overlay
        self.configure(**settings)

    def configure(self, **settings: str) -> None:
        """Change settings, e.g. mtu="1400"; they count from the next `apply` on."""
        common = _SETTINGS | {"LINEN_CLUSTER_RANGE": self.cluster.addresses.pods}
        given = {f"LINEN_{name.upper()}": value for name, value in settings.items()}
        self.folder.mkdir(exist_ok=True)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(CHECKOUT / "deploy" / self._overlay, self.folder)],
            "configMapGenerator": [
                {
                    "name": "linen",
                    "namespace": NAMESPACE,
                    "behavior": "merge",
                    "literals": [f"{name}={value}" for name, value in (common | given).items()],
                }
            ],
        }
        text = yaml.safe_dump(kustomization)
        (self.folder / "kustomization.yaml").write_text(text, encoding="utf-8")

    def apply(self) -> None:
        """Install, or change what is installed; returns at once."""
        self.cluster.kubectl("apply", f"--kustomize={self.folder}")

    def install(self) -> None:
        """Install; return when every node is Ready, and has its tunnels to all others."""
        self.apply()
        self.wait_until_rolled_out()
        self.cluster.wait_until_ready()
        self.wait_for_tunnels(self.cluster.nodes)

    def wait_until_rolled_out(self, seconds: int = PATIENCE) -> None:
        """Return when every node has a flaxd of the last version whose overlay works."""
        self.kubectl(
            "rollout", "status", "daemonset/linen", f"--timeout={seconds}s", timeout=seconds + 5
        )

    def wait_until_heard(self) -> None:
        """Return when every flaxd has the API server again, which was away."""

        def connected() -> bool:
            try:
                names = [pod["metadata"]["name"] for pod in self.pods().values()]
                logs = [self.kubectl("logs", name, "--container=flaxd") for name in names]
            except AssertionError:
                return False  # a kubelet may still have to hear of the API server itself
            said = [[line for line in log.splitlines() if "API server: " in line] for log in logs]
            return all("connected again" in lines[-1] for lines in said if lines)

        wait_until(connected, "flaxd to hear of the API server again", PATIENCE)

    def delete(self) -> None:
        """Uninstall; return when all is deleted."""
        self.cluster.kubectl("delete", f"--kustomize={self.folder}")

    def kubectl(self, *argv: str, timeout: float = PATIENCE) -> str:
        """What kubectl prints in Linen's namespace."""
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *argv, timeout=timeout)

    def pods(self, name: str = "linen") -> dict[str, dict[str, Any]]:
        """The pods of one of Linen's DaemonSets that have been given a node, by it."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        params = {"labelSelector": f"app.kubernetes.io/name={name}"}
        answer = self.cluster.plane.request("GET", path, params=params)
        return {
            pod["spec"]["nodeName"]: pod for pod in answer["items"] if "nodeName" in pod["spec"]
        }

    def flaxd(self, node: str) -> str:
        """The pid, on that node, of its flaxd; empty while it does not run."""
        # A command line's words end with NUL (-z); [d] keeps grep from finding itself.
        search = "grep -lszx '/usr/bin/flax[d]' /proc/[0-9]*/cmdline"
        found = self.cluster.nodes[node].run("sh", "-c", search, check=False).stdout.split()
        assert len(found) <= 1, f"several flaxd run on {node}: {found}"
        return found[0].split("/")[2] if found else ""

    def kill_flaxd(self, *nodes: str) -> None:
        """Kill flaxd on these nodes; return when kubelet has started it again on all."""
        before = {node: self.flaxd(node) for node in nodes}
        assert all(before.values()), f"flaxd does not run everywhere: {before}"
        for node, pid in before.items():
            self.cluster.nodes[node].run("kill", "-KILL", pid)

        def restarted() -> bool:
            return all(self.flaxd(node) not in {"", pid} for node, pid in before.items())

        wait_until(restarted, f"flaxd to be restarted on {', '.join(nodes)}", PATIENCE)

    def leases(self, node: str) -> set[str]:
        """The pods' addresses that host-local, which keeps them on disk, takes for used there."""
        names = self.cluster.nodes[node].run("ls", _LEASES, check=False).stdout.split()
        return {name for name in names if name[0].isdigit()}

    def tunnels(self, node: str) -> set[str]:
        """The addresses that a node's tunnels lead to."""
        rows = self.cluster.nodes[node].records("Interface", "options", "type")
        return {row["options"]["remote_ip"] for row in rows if row["type"] == "vxlan"}

    def wait_for_tunnels(self, nodes: Iterable[str], seconds: float = PATIENCE) -> None:
        """Return when each of these nodes has a tunnel to each other of them, and to no other."""
        addresses = {name: self.cluster.nodes[name].tunnel_address for name in nodes}

        def meshed() -> bool:
            everybody = set(addresses.values())
            return all(self.tunnels(name) == everybody - {addresses[name]} for name in addresses)

        wait_until(meshed, f"tunnels between {', '.join(addresses)}", seconds)


@contextmanager
def running_linen(
    overlay: str = "host-ovs",
    proxy_mode: str = "nftables",
    addresses: Addressing = IPV4,
    **settings: str,
) -> Iterator[Cluster]:
    """A cluster of three nodes with an overlay of deploy/ that works, and DNS.

    `overlay` may be "none", which leaves the network and DNS to the caller. `settings` as those of
    `Linen`. In a star the first node is the master.
    """
    names = ["linen", *filter(None, [_NEEDED.get(overlay)])]
    archives = [image(name) for name in names]
    with running_cluster(addresses) as cluster:
        cluster.add_nodes(
            *_NODES, images=archives, has_ovs=overlay != _BUNDLED, proxy_mode=proxy_mode
        )
        if {overlay, settings.get("topology")} & {_STAR, _CONTROLLER}:
            cluster.kubectl("label", "node", _NODES[0], "linen-cni/master=true")
        if overlay != "none":
            linen = Linen(cluster, overlay, **settings)
            linen.apply()
            linen.wait_until_rolled_out()
            cluster.wait_until_ready()
            cluster.add_dns()
        yield cluster
