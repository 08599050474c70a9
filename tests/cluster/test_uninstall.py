# SPDX-License-Identifier: Apache-2.0
"""Uninstalling takes away what is Linen's, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster.linen import CONFLIST
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.node import Node

FOREIGN_CONFLIST = "/etc/cni/net.d/zz-other.conflist"
FOREIGN_PLUGIN = "/opt/cni/bin/other"
RIGS_BRIDGE = "br-phy"


def files_of(node: Node) -> set[str]:
    """What lies in the folders of CNI."""
    folders = ("/etc/cni/net.d", "/opt/cni/bin", "/var/lib/linen")
    return set(node.run("find", *folders, "-mindepth", "1").stdout.split())


def test_delete_takes_away_what_is_linens(linen: Linen, cluster: Cluster) -> None:
    """`kubectl delete -k` leaves no file, bridge and tunnel of ours, and all that is another's.

    Also of an API server that has just been restarted, and has forgotten all watches.
    """
    node = cluster.nodes["node1"]
    node.run("tee", FOREIGN_CONFLIST, stdin='{"cniVersion": "1.0.0", "name": "x", "plugins": []}')
    node.run("cp", "/bin/true", FOREIGN_PLUGIN)
    node.vsctl("add-br", "br-other", "--", "set", "bridge", "br-other", "datapath_type=netdev")
    node.vsctl("add-port", "br0", "other", "--", "set", "interface", "other", "type=internal")
    cluster.plane.stop_api_server()
    cluster.plane.start_api_server()
    linen.wait_until_heard()

    linen.delete()

    wait_until(lambda: not linen.pods(), "Linen's pods to end", 60)
    assert files_of(node) == {FOREIGN_CONFLIST, FOREIGN_PLUGIN}
    assert set(node.vsctl("list-br").split()) == {RIGS_BRIDGE, "br-other", "br0"}
    assert node.vsctl("list-ports", "br0") == "other"
    for name in ("node2", "node3"):
        other = cluster.nodes[name]
        assert not files_of(other)
        assert other.vsctl("list-br") == RIGS_BRIDGE
        assert "kbr0" not in other.links()

    node.run("rm", FOREIGN_CONFLIST, FOREIGN_PLUGIN)
    node.vsctl("del-br", "br-other", "--", "del-br", "br0")
    linen.apply()
    linen.wait_until_rolled_out()
    assert node.run("cat", CONFLIST).stdout
