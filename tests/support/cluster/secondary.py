# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "A second network": what it says, and what has to hold of pods in both."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from linen.host.conflists import SECONDARY_CONF_DIR
from support.cluster.cluster import PATIENCE, running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pods import running_pods
from support.host import wait_until
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster.cluster import Cluster
    from support.cluster.node import Node
    from support.cluster.pods import Pods

NODES = ("node1", "node2")
NAMES = ("node1-both", "node2-both")  # of pods in both networks
NETWORK, IFNAME = "storage", "net1"
LEASES = f"/var/lib/cni/networks/{NETWORK}"
_ALONE = "node2-alone"  # in the first network
_GUIDE = CHECKOUT / "docs" / "kubernetes.md"


# --- what the document says ---


def definition() -> str:
    """The document's NetworkAttachmentDefinition."""
    return _find(r"kubectl apply -f - <<EOF\n(.*?\n)EOF\n")


def annotation() -> dict[str, str]:
    """That by which the document puts a pod into the second network."""
    name, _, value = _find(r"kubectl run .*? --annotations=(\S+)\n").partition("=")
    return {name: value}


def leftovers_command() -> list[str]:
    """What the document says to do on a node where the second network was not removed."""
    return _find(r"`linenctl (uninstall [^`]*)` on each node").split()


def _find(pattern: str) -> str:
    chapter = _GUIDE.read_text(encoding="utf-8").partition("## A second network\n")[2]
    (found,) = re.findall(pattern, chapter.partition("\n## ")[0], re.DOTALL)
    return str(found)


# --- on a cluster ---


@contextmanager
def running_first() -> Iterator[Linen]:
    """A cluster of its own, whose network has a VNI, as it should where there is another one."""
    with running_cluster() as cluster:
        cluster.add_nodes(*NODES, images=[image("linen")])
        linen = Linen(cluster, vni="1")
        linen.install()
        yield linen


def configure(cluster: Cluster) -> Path:
    """The document's kustomization, in a folder of the cluster's."""
    text = _find(r"```yaml\n(# my-second-.*?)```")
    folder = cluster.folder / "my-second-network"
    folder.mkdir()
    text = text.replace("../linen/", f"{os.path.relpath(CHECKOUT, folder)}/")
    # Its last lines are settings; as for the first network, packets are switched in userspace.
    (folder / "kustomization.yaml").write_text(f"{text}      - LINEN_DATAPATH_TYPE=netdev\n")
    return folder


def install(first: Linen, second: Path) -> None:
    """Apply the second network; return when it works on all nodes."""
    first.kubectl("apply", f"--kustomize={second}")
    limit = f"--timeout={PATIENCE - 5}s"
    first.kubectl("rollout", "status", "daemonset/linen-secondary", limit)


def wait_for_end(linen: Linen, *daemons: str) -> None:
    """Return when no pod of these DaemonSets is there."""
    names = " and ".join(daemons)
    wait_until(lambda: not any(map(linen.pods, daemons)), f"{names} to end", PATIENCE)


def conflists(node: Node) -> list[str]:
    """The files in Multus' folder."""
    return node.run("ls", SECONDARY_CONF_DIR).stdout.split()


def address_of(pods: Pods, name: str) -> str:
    """A pod's address in the second network."""
    (link,) = json.loads(pods.exec(name, "ip", "-json", "-4", "address", "show", IFNAME))
    (address,) = link["addr_info"]
    return str(address["local"])


# --- what has to hold ---


def check_ranges(pods: Pods) -> None:
    """A pod on the node of 10.244.N.0/24 has an address of 10.99.N.0/24 in the second network."""
    for name in NAMES:
        third = pods.cluster.plane.node(pods.nodes[name])["spec"]["podCIDR"].split(".")[2]
        assert address_of(pods, name).startswith(f"10.99.{third}.")
        assert pods.addresses[name].startswith(f"10.244.{third}.")


def check_reach(pods: Pods) -> None:
    """A pod reaches the other node's by each of its interfaces; its way out is the first one."""
    one, other = NAMES
    for link, address in ("eth0", pods.addresses[other]), (IFNAME, address_of(pods, other)):
        pods.exec(one, "ping", "-c1", "-w30", f"-I{link}", address)
    routes = pods.exec(one, "ip", "route", "show", "default").splitlines()
    assert [route.split()[4] for route in routes] == ["eth0"]


def check_isolation(pods: Pods) -> None:
    """A pod that is in the first network alone reaches no address of the second."""
    with running_pods(pods.cluster, "first-alone", _ALONE) as alone:
        links = json.loads(alone.exec(_ALONE, "ip", "-json", "link"))
        assert {link["ifname"] for link in links} == {"lo", "eth0"}
        alone.wait_for_ping(_ALONE, pods.addresses[NAMES[0]])
        with pytest.raises(AssertionError, match="100% packet loss"):
            alone.exec(_ALONE, "ping", "-c3", "-i0.2", "-W1", address_of(pods, NAMES[0]))


def check_traces(node: Node) -> None:
    """Nothing is left of either network."""
    assert not {"br0", "br1", "kbr0", "kbr1"} & node.links().keys()
    assert node.vsctl("list-br") == "br-phy"
    assert not conflists(node)
    assert not node.run("find", LEASES, "-name", "10.*").stdout
