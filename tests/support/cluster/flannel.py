# SPDX-License-Identifier: Apache-2.0
"""flannel on a cluster, by its own manifest, unchanged.

No registry is asked: `python -m support.cluster.flannel` writes images under the names that the
manifest has, of the programs that scripts/setup built and of Debian's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from support.cluster import archive, images
from support.images import NATIVE
from support.paths import CHECKOUT, FLANNEL

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster

MANIFEST = FLANNEL / "kube-flannel.yml"
_IMAGES = FLANNEL / "images"

# The reference plugins, which kubeadm's packages bring to a node, and flannel does not.
_PLUGINS = CHECKOUT / ".cache" / "image" / NATIVE / "plugins" / "bin"
_FOLDER = "/opt/cni/bin"


def main() -> None:
    """Write the images that the manifest names."""
    _IMAGES.mkdir(exist_ok=True)
    (pod,) = (
        found["spec"]["template"]["spec"]
        for found in yaml.safe_load_all(MANIFEST.read_text())
        if found["kind"] == "DaemonSet"
    )
    plugin, _ = (container["image"] for container in pod["initContainers"])
    (daemon,) = (container["image"] for container in pod["containers"])
    _write("plugin", plugin, _plugin())
    _write("daemon", daemon, _daemon())


def install(cluster: Cluster) -> None:
    """Install it as its documentation says; return when all nodes are Ready."""
    archives = sorted(_IMAGES.glob("*.tar"))
    assert archives, f"{_IMAGES} is empty: run scripts/setup long"
    for node in cluster.nodes.values():
        node.run("cp", *_PLUGINS.iterdir(), _FOLDER)
        for one in archives:
            node.load_image(one)
    cluster.kubectl("apply", f"--filename={MANIFEST}")
    cluster.wait_until_ready()


def _write(name: str, image: str, layer: archive.Layer) -> None:
    archive.write(_IMAGES / f"{name}.tar", image, layer, ["/bin/sh"])


def _plugin() -> archive.Layer:
    layer = images.base()
    images.add_busybox(layer)
    layer.program("/flannel", FLANNEL / "plugin" / "bin" / "flannel")
    return layer


def _daemon() -> archive.Layer:
    layer = images.base()
    images.add_busybox(layer)
    layer.program("/opt/bin/flanneld", FLANNEL / "bin" / "flannel")
    layer.program("/opt/bin/install-conf", FLANNEL / "bin" / "install_conf")
    iptables = images.find("xtables-nft-multi")
    layer.program(f"/bin/{iptables.name}", iptables)
    for version in ("iptables", "ip6tables"):
        for command in ("", "-save", "-restore"):
            layer.link(f"/bin/{version}{command}", iptables.name)
    for extension in Path("/usr/lib").glob("*/xtables/*.so"):
        layer.file(str(extension), extension.read_bytes(), 0o755)
    return layer


if __name__ == "__main__":
    main()
