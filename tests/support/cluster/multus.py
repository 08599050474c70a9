# SPDX-License-Identifier: Apache-2.0
"""Multus on a cluster, its thin plugin by its own manifest, unchanged.

No registry is asked: `python -m support.cluster.multus` writes an image under the name that the
manifest has, of the programs that scripts/setup built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from support.cluster import archive, images
from support.cluster.cluster import PATIENCE
from support.host import wait_until
from support.paths import MULTUS

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.node import Node

NETWORK = "multus-cni-network"
CONFLIST = "/etc/cni/net.d/00-multus.conflist"  # with Linen's in it, as that was then
MANIFEST = MULTUS / "multus-daemonset.yml"
_DAEMON = "daemonset/kube-multus-ds"
_IMAGE = MULTUS / "image.tar"

# Where upstream's own image has its programs, by what they are called here.
_PROGRAMS = {
    "install_multus": "/install_multus",
    "thin_entrypoint": "/thin_entrypoint",
    "multus": "/usr/src/multus-cni/bin/multus",
    "passthru-cni": "/usr/src/multus-cni/bin/passthru",
}
# What stays on a node when Multus is deleted.
_LEFT = (
    CONFLIST,
    "/etc/cni/net.d/multus.d",
    "/opt/cni/bin/multus",
    "/opt/cni/bin/passthru",
    "/var/lib/cni/multus",
)


def main() -> None:
    """Write the image that the manifest names."""
    (pod,) = (
        found["spec"]["template"]["spec"]
        for found in yaml.safe_load_all(MANIFEST.read_text())
        if found["kind"] == "DaemonSet"
    )
    containers = [*pod["initContainers"], *pod["containers"]]
    (image,) = {container["image"] for container in containers}
    layer = images.base()
    for program, path in _PROGRAMS.items():
        layer.program(path, MULTUS / "bin" / program)
    archive.write(_IMAGE, image, layer, ["/thin_entrypoint"])


def install(cluster: Cluster) -> None:
    """Install it before the network that is there; return when all nodes have its conflist."""
    assert _IMAGE.exists(), f"{_IMAGE} is not there: run scripts/setup long"
    for node in cluster.nodes.values():
        node.load_image(_IMAGE)
    cluster.kubectl("apply", f"--filename={MANIFEST}")
    _wait_for_rollout(cluster, {})


def restart(cluster: Cluster) -> None:
    """Have it make its conflist anew; return when all nodes have that."""
    before = {name: _conflist(node) for name, node in cluster.nodes.items()}
    _kubectl(cluster, "restart")
    _wait_for_rollout(cluster, before)


def delete(cluster: Cluster) -> None:
    """Uninstall it, and remove the files that it leaves on nodes."""
    cluster.kubectl("delete", f"--filename={MANIFEST}", "--cascade=foreground")
    for node in cluster.nodes.values():
        node.run("rm", "-r", *_LEFT)


def _wait_for_rollout(cluster: Cluster, before: dict[str, str]) -> None:
    _kubectl(cluster, "status", f"--timeout={PATIENCE - 5}s")

    def is_made() -> bool:
        made = {name: _conflist(node) for name, node in cluster.nodes.items()}
        return all(made[name] not in {"", before.get(name)} for name in made)

    wait_until(is_made, f"{CONFLIST} on all nodes", PATIENCE)


def _kubectl(cluster: Cluster, command: str, *argv: str) -> None:
    cluster.kubectl("--namespace=kube-system", "rollout", command, _DAEMON, *argv)


def _conflist(node: Node) -> str:
    """Its conflist's inode, another one whenever it is made anew; empty while there is none."""
    return node.run("stat", "--format=%i", CONFLIST, check=False).stdout


if __name__ == "__main__":
    main()
