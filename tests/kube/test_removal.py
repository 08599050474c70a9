# SPDX-License-Identifier: Apache-2.0
"""Linen taken off the cluster: every daemon takes it off its node. Ended alone, it leaves all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.host import wait_until
from support.kubernetes_nodes import ACCOUNT, KubernetesNodes
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.control_plane import ControlPlane
    from support.daemons import Flaxd
    from support.kubernetes_nodes import KubernetesNode

ACCOUNTS = "/api/v1/namespaces/linen-system/serviceaccounts"
OTHER = "linen-other"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RIGHTS = """
kind: Role
metadata: {name: flaxd}
rules:
- {apiGroups: [""], resources: [serviceaccounts], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [namespaces], verbs: [get]}
---
kind: RoleBinding
metadata: {name: flaxd}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: flaxd}
subjects: [{kind: ServiceAccount, name: flaxd, namespace: linen-system}]
"""


@pytest.fixture
def node(plane: ControlPlane) -> Iterator[KubernetesNode]:
    """A node with a peer, whose account is there again after the test."""
    with KubernetesNodes(plane) as cluster:
        node = cluster.add("node1")
        node.register()
        peer = {"linen-cni/vtep": "10.245.0.2", "linen-cni/version": "1"}
        plane.add_node("node2", annotations=peer)
        yield node
    plane.apply(CHECKOUT / "deploy" / "base" / "rbac.yaml")


def delete_account(plane: ControlPlane) -> None:
    """What deleting the manifests does first."""
    plane.request("DELETE", f"{ACCOUNTS}/flaxd")


def delete_manifests(plane: ControlPlane, *daemons: Flaxd) -> None:
    """As `kubectl delete -k`: first the account goes, and soon all daemons are told to end."""
    delete_account(plane)
    for daemon in daemons:
        daemon.wait_for("service account linen-system/flaxd is gone")
        daemon.process.terminate()


def may_see_its_namespace(plane: ControlPlane) -> bool:
    """Whether the daemon has that right, by the API server's own word."""
    wanted = {"verb": "get", "resource": "namespaces", "name": "linen-system"}
    review = {
        "user": "system:serviceaccount:linen-system:flaxd",
        "resourceAttributes": wanted | {"namespace": "linen-system"},
    }
    answer = plane.request("POST", REVIEWS, {"spec": review})
    return bool(answer["status"]["allowed"])


def annotations_of(node: KubernetesNode) -> dict[str, str]:
    """The Node's annotations."""
    found: dict[str, str] = node.plane.node(node.name)["metadata"].get("annotations", {})
    return found


def administrators(conflist: Path, ovs: dict[str, Any]) -> None:
    """Write an administrator's conflist, with these options for linen."""
    plugins = [{"type": "bridge", "bridge": "kbr0"}, {"type": "linen", "ovs": ovs}]
    document = {"cniVersion": "1.0.0", "name": "linen-network", "plugins": plugins}
    conflist.write_text(json.dumps(document))


def is_clean(node: KubernetesNode) -> bool:
    """Whether nothing of ours is on the node."""
    files = [node.settings["conflist"], node.settings["bin_dir"] / "linen"]
    links = {"br0", "kbr0"} & set(node.host.links())
    return not any(path.exists() for path in files) and not links and not node.vteps()


def test_account_deleted(node: KubernetesNode) -> None:
    """Deleting the manifests takes conflist, plugin, bridges and tunnels away."""
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        node.wait_for_peers("node2")
        wait_until(lambda: node.condition().get("status") == "False", "the condition")
        node.host.run("ip", "link", "add", "kbr0", "type", "bridge")
        node.host.run("ip", "address", "add", "10.244.1.1/16", "dev", "kbr0")
        wait_until(lambda: node.host.links()["br0"].get("master") == "kbr0", "br0 on kbr0")
        foreign = node.settings["conflist"].with_name("99-other.conflist")
        foreign.write_text('{"name": "other", "cniVersion": "1.0.0", "plugins": []}')

        delete_manifests(node.plane, flaxd)

        wait_until(lambda: is_clean(node), "the node to be clean")
        flaxd.wait_for("nothing is left to do")
        assert foreign.exists()
        assert (node.settings["bin_dir"] / "bridge").exists()
        assert [key for key in annotations_of(node) if key.startswith("linen-cni/")] == []
        assert node.condition() == {}
        assert flaxd.process.wait(timeout=10) == 0


def test_account_that_stays_away(node: KubernetesNode) -> None:
    """Linen goes some seconds after its account also where nothing else of it is deleted."""
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        node.wait_for_peers("node2")
        wait_until(node.settings["conflist"].exists, "the conflist")

        delete_account(node.plane)

        flaxd.wait_for("nothing is left to do but to be ended; delete this pod", 60)
        assert is_clean(node)


def test_account_that_is_replaced(node: KubernetesNode) -> None:
    """An account that is made anew at once, as by `kubectl replace --force`, takes nothing away."""
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        node.wait_for_peers("node2")
        wait_until(node.settings["conflist"].exists, "the conflist")
        wait_until(lambda: "linen-cni/vtep" in annotations_of(node), "the annotations")

        delete_account(node.plane)
        node.plane.request("POST", ACCOUNTS, {"metadata": {"name": "flaxd"}})

        flaxd.wait_for("service account linen-system/flaxd is back")
        assert flaxd.stop() == 0
    assert node.settings["conflist"].exists()
    assert (node.settings["bin_dir"] / "linen").exists()
    assert node.vteps() == {"10.245.0.2"}
    assert "linen-cni/vtep" in annotations_of(node)


def test_account_deleted_and_a_conflist_changed(node: KubernetesNode) -> None:
    """A daemon that begins anew while its account is gone still knows that it was there.

    So it is where the API server takes the account's token no more.
    """
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        node.wait_for_peers("node2")
        wait_until(node.settings["conflist"].exists, "the conflist")
        delete_account(node.plane)
        flaxd.wait_for("service account linen-system/flaxd is gone")
        node.write_token("no token any more")

        administrators(node.settings["conflist"], {"vni": 8, "datapathType": "netdev"})

        flaxd.wait_for("starting again with that")
        flaxd.wait_for("nothing is left to do but to be ended; delete this pod", 60)
        assert is_clean(node)


def test_container_that_is_restarted_alone(node: KubernetesNode) -> None:
    """Where Linen was taken off a node, a daemon without a new pod says that it needs one."""
    (node.settings["bin_dir"] / "linen").unlink()
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        flaxd.wait_for("delete this pod: the next one's init container installs it")
        assert flaxd.get("/readyz")[0] == 503


def test_plugin_that_is_away_for_a_while(node: KubernetesNode) -> None:
    """A plugin that is back where it was is found although nothing else changes on the node."""
    plugin = node.settings["bin_dir"] / "linen"
    away = plugin.with_name("away")
    plugin.rename(away)
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        flaxd.wait_for(f"{plugin} is not there")

        away.rename(plugin)

        wait_until(node.settings["conflist"].exists, "the conflist")


def test_account_deleted_with_a_conflist_of_another_name(node: KubernetesNode) -> None:
    """Where the daemon writes another file than usual nothing stays either, but others' network."""
    usual = node.settings["conflist"]
    node.settings["conflist"] = usual.with_name("05-red.conflist")
    usual.parent.mkdir()
    usual.write_text('{"name": "other", "cniVersion": "1.0.0", "plugins": [{"type": "linen"}]}')
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        wait_until(node.settings["conflist"].exists, "the conflist")

        delete_manifests(node.plane, flaxd)

        flaxd.wait_for("nothing is left to do")
        assert not node.settings["conflist"].exists()
        assert not node.vteps()
        assert "br0" not in node.host.links()
        assert usual.exists()
        assert (node.settings["bin_dir"] / "linen").exists()


def test_network_of_a_daemon_that_stays(node: KubernetesNode) -> None:
    """A network that another daemon keeps stays, wherever that has its conflist."""
    theirs = node.settings["conflist"].with_name("multus.d") / "blue.conflist"
    blue = {"network": "blue", "vni": 8, "ovs_bridge": "br1", "linux_bridge": "kbr1"}
    blue |= {"gateway": "none", "cluster_range": "10.99.0.0/16", "conflist": theirs}
    with node.flaxd(service_account=ACCOUNT) as first, node.flaxd(**blue) as second:
        for conflist in node.settings["conflist"], theirs:
            wait_until(conflist.exists, "a conflist")
        second.wait_for("the overlay works")
        tunnels = [row["_uuid"] for row in node.host.records("Interface") if row["type"] == "vxlan"]

        delete_manifests(node.plane, first)

        first.wait_for("nothing is left to do")
        assert not node.settings["conflist"].exists()
        assert theirs.exists()
        left = [row["_uuid"] for row in node.host.records("Interface") if row["type"] == "vxlan"]
        assert len(left) == len(tunnels) - 1
        assert all(uuid in tunnels for uuid in left)
        tables = node.host.run("nft", "list", "tables").stdout
        assert "linen-blue" in tables
        assert "linen-linen-network" not in tables


def test_account_deleted_with_two_networks(node: KubernetesNode) -> None:
    """The daemon of a secondary network goes with the first one's, and nothing of either stays."""
    secondary = node.settings["conflist"].with_name("multus.d") / "linen.conflist"
    blue = {"network": "blue", "vni": 8, "ovs_bridge": "br1", "linux_bridge": "kbr1"}
    blue |= {"gateway": "none", "cluster_range": "10.99.0.0/16", "conflist": secondary}
    with (
        node.flaxd(service_account=ACCOUNT) as first,
        node.flaxd(service_account=ACCOUNT, **blue) as second,
    ):
        for conflist in node.settings["conflist"], secondary:
            wait_until(conflist.exists, "a conflist")

        delete_manifests(node.plane, first, second)

        for daemon in first, second:
            daemon.wait_for("nothing is left to do")
        assert is_clean(node)
        assert not secondary.exists()
        assert "br1" not in node.host.links()
        assert "linen-" not in node.host.run("nft", "list", "tables").stdout


def test_daemon_that_ends_alone(node: KubernetesNode) -> None:
    """A daemon that is told to end, as with each upgrade, leaves everything as it is."""
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        node.wait_for_peers("node2")
        wait_until(node.settings["conflist"].exists, "the conflist")

        assert flaxd.stop() == 0

    assert node.settings["conflist"].exists()
    assert node.vteps() == {"10.245.0.2"}


def test_account_that_never_was(node: KubernetesNode) -> None:
    """The name of an account that does not exist takes nothing away."""
    with node.flaxd(service_account="linen-system/other") as flaxd:
        node.wait_for_peers("node2")
        flaxd.wait_for('serviceaccounts "other" is forbidden')

        assert flaxd.stop() == 0
    assert node.vteps() == {"10.245.0.2"}


def test_namespace_that_ends(node: KubernetesNode) -> None:
    """A daemon that is ended because its whole namespace is deleted cleans up as well."""
    plane = node.plane
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": OTHER}})
    for document in yaml.safe_load_all(RIGHTS):
        plane.request("POST", f"{RBAC}/namespaces/{OTHER}/{document['kind'].lower()}s", document)
    with node.flaxd(service_account=f"{OTHER}/flaxd") as flaxd:
        node.wait_for_peers("node2")
        wait_until(node.settings["conflist"].exists, "the conflist")

        plane.request("DELETE", f"/api/v1/namespaces/{OTHER}")
        flaxd.process.terminate()

        wait_until(lambda: is_clean(node), "the node to be clean")


def test_rights_that_go_first(node: KubernetesNode) -> None:
    """A daemon that is ended with its rights gone waits whether its account goes as well."""
    plane = node.plane
    with node.flaxd(service_account=ACCOUNT) as flaxd:
        node.wait_for_peers("node2")
        wait_until(node.settings["conflist"].exists, "the conflist")
        plane.request("DELETE", f"{RBAC}/namespaces/linen-system/rolebindings/linen-flaxd")
        wait_until(lambda: not may_see_its_namespace(plane), "the rights to be gone")

        flaxd.process.terminate()
        flaxd.wait_for("its rights are gone")
        delete_account(plane)

        wait_until(lambda: is_clean(node), "the node to be clean")


def test_star_by_label(node: KubernetesNode) -> None:
    """A Node with the label linen-cni/master=true is a star's master as long as it has it."""
    node.plane.patch_node("node1", {"metadata": {"labels": {"linen-cni/master": "true"}}})
    with node.flaxd(topology="star"):
        node.wait_for_peers("node2")
        wait_until(lambda: annotations_of(node).get("linen-cni/master") == "true", "the annotation")

        node.plane.patch_node("node1", {"metadata": {"labels": {"linen-cni/master": None}}})
        node.wait_for_peers()


def test_a_master_without_the_label(node: KubernetesNode) -> None:
    """Whose conflist alone says so is no master in Kubernetes, and is heard of all the same."""
    node.settings["conflist"].parent.mkdir(parents=True, exist_ok=True)
    ovs = {"isMaster": True, "topology": "star", "datapathType": "netdev"}
    administrators(node.settings["conflist"], ovs)
    with node.flaxd() as daemon:
        wait_until(lambda: "linen-cni/vtep" in annotations_of(node), "its tunnel address")

        assert "linen-cni/master" not in annotations_of(node)
        daemon.wait_for("kubectl label node node1 linen-cni/master=true")
