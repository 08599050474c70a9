# SPDX-License-Identifier: Apache-2.0
"""A node that is switched off and on again works as before, and has forgotten what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster.cluster import PATIENCE
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.node import Node
    from support.cluster.pods import Pods

RESULTS = "/var/lib/cni/results"  # the runtime's memory of each attachment


def attachments(node: Node) -> int:
    """How many pods the runtime has attached to our network."""
    names = node.run("ls", RESULTS).stdout.split()
    return sum(name.startswith("linen-network-") for name in names)


def wait_until_restarted(pods: Pods, name: str) -> None:
    """Return when a pod's container runs for the second time."""

    def restarted() -> bool:
        path = f"/api/v1/namespaces/default/pods/{name}"
        (one,) = pods.cluster.plane.request("GET", path)["status"]["containerStatuses"]
        return bool(one["restartCount"] and one["ready"])

    wait_until(restarted, f"{name} to run again", PATIENCE)


def test_reboot(linen: Linen, cluster: Cluster, pods_of_test: Pods) -> None:
    """After a reboot old pods run again, new ones start, and no address is lost."""
    node = cluster.nodes["node3"]
    pods = pods_of_test
    pods.create("node1-a", "node3-stays", "node3-goes")
    assert {pods.addresses["node3-stays"], pods.addresses["node3-goes"]} <= linen.leases(node.name)

    node.switch_off()
    cluster.kubectl("delete", "pod", "node3-goes", "--force", "--grace-period=0")
    node.boot(cluster.fabric)

    wait_until_restarted(pods, "node3-stays")
    cluster.wait_until_ready("node3")
    linen.wait_until_rolled_out()
    linen.wait_for_tunnels(cluster.nodes)
    pods.create("node3-new")
    for name in ("node3-stays", "node3-new"):
        pods.wait_for_ping("node1-a", pods.addresses[name])

    used = {pods.addresses[name] for name in ("node3-stays", "node3-new")}
    wait_until(lambda: linen.leases(node.name) == used, f"no leases but {used}", PATIENCE)
    # libcni forgets an attachment when all its plugins have ended, so after host-local's lease.
    what = f"no attachments but {len(used)}"
    wait_until(lambda: attachments(node) == len(used), what, PATIENCE)
    pods.delete()
    wait_until(lambda: not linen.leases(node.name), "no leases", PATIENCE)
