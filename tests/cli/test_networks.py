# SPDX-License-Identifier: Apache-2.0
"""`linenctl` on a node with two networks, the second of which may be defined elsewhere."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import only
from linen.host.conflists import CONF_DIR, SECONDARY_CONF_DIR
from support.cni import plugin_entry
from support.conflists import multus_file, options_of
from support.host import OVSDB_SOCKET
from support.paths import CNITOOL

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Node


def second_network(node: Node, **ovs: object) -> dict[str, Any]:
    """Another network for the same node, with everything its own, but for `ovs`."""
    document = deepcopy(node.document)
    document["name"] = "second"
    bridge = plugin_entry(document, "bridge")
    bridge |= {"bridge": "kbr1", "isGateway": False, "isDefaultGateway": False, "ipMasq": False}
    options_of(plugin_entry(document, "linen")).update({"ovsBridge": "br1", "vni": 8} | ovs)
    return document


def add_elsewhere(
    node: Node, document: dict[str, Any], pod: str = "pod2", ifname: str = "eth0"
) -> Path:
    """Attach a pod to a network whose conflist is in another folder, as those of Multus are."""
    folder = node.host.folder / "elsewhere"
    folder.mkdir()
    path = folder / "second.conflist"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    if f"/run/netns/{pod}" not in node.chain.namespaces():
        node.host.add_namespace(pod)
    variables = {"CNI_PATH": str(node.bin_dir), "NETCONFPATH": str(folder), "CNI_IFNAME": ifname}
    node.host.run(CNITOOL, "add", "second", f"/run/netns/{pod}", env=variables)
    return path


def test_two_networks(node: Node) -> None:
    """Two networks that go together are no fault, wherever the second one's conflist lies."""
    node.ovs["vni"] = 7
    node.write(node.document)
    node.chain.add("other")
    path = add_elsewhere(node, second_network(node))
    assert node.faults() == [("stray-rows", "warning")]

    done = node.linenctl("check", "--live", str(node.conf_dir), str(path))
    assert done.returncode == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout

    node.host.run("install", "-D", path, f"{SECONDARY_CONF_DIR}/second.conflist", "-m600")
    assert node.faults() == []


@pytest.mark.parametrize("version", ["0.2.0", "1.1.0"])
def test_pod_in_two_networks(fresh: Node, version: str) -> None:
    """A pod that is in both networks is no fault, and a fault of one is not told of the other.

    Results older than 0.3.0 do not name the Linux bridge, and the pod is on two.
    """
    fresh.ovs["vni"] = 7
    fresh.write(fresh.document | {"cniVersion": version})
    fresh.chain.add("pod")
    second = second_network(fresh) | {"cniVersion": version}
    bridge = plugin_entry(second, "bridge")
    bridge |= {"mtu": 1350, "ipam": {"type": "host-local", "subnet": "10.9.0.0/16",
               "rangeStart": "10.9.1.10", "rangeEnd": "10.9.1.99"}}  # fmt: skip
    path = add_elsewhere(fresh, second, "pod", "net1")
    argv = ("check", "--live", str(fresh.conf_dir), str(path))
    done = fresh.linenctl(*argv)
    assert "0 errors, 0 warnings" in done.stdout, done.stdout

    fresh.host.run("ip", "link", "set", "br1", "nomaster")

    found = [one for one in fresh.linenctl(*argv).stdout.splitlines() if one.startswith("error")]
    (line,) = found
    assert "network second" in line
    assert line.endswith("[attachment]")


@pytest.mark.parametrize(
    ("ovs", "linux_bridge", "check", "word"),
    [
        ({"vni": 7, "vtepIPs": []}, "kbr1", "same-vni", "has the same vni 7"),
        ({"vni": 7, "dstPort": 8472}, "kbr1", "same-vni", "it has vni 7 on UDP port 8472"),
        ({"vni": 8, "ovsBridge": "br0"}, "kbr1", "same-ovs-bridge", "another vni (8 and 7)"),
        ({"vni": 7, "ovsBridge": "br0"}, "kbr1", "same-ovs-bridge", "it shares OVS bridge br0"),
        ({"vni": 8}, "kbr0", "same-linux-bridge", "(br1 and br0)"),
    ],
)
def test_clash_with_a_network_of_elsewhere(
    fresh: Node, ovs: dict[str, Any], linux_bridge: str, check: str, word: str
) -> None:
    """A clash with a network that Open vSwitch alone tells of is told, with where that is."""
    second = second_network(fresh, **ovs)
    plugin_entry(second, "bridge")["bridge"] = linux_bridge
    add_elsewhere(fresh, second)
    fresh.ovs["vni"] = 7
    fresh.write(fresh.document)

    found = {one["check"]: one for one in fresh.findings()}[check]

    assert word in found["what"]
    assert f"unix:{OVSDB_SOCKET}" in found["where"]
    assert str(fresh.conflist) in found["what"]
    assert found["cure"]


def test_the_node_as_a_way_between_networks(node: Node) -> None:
    """A node that is the gateway of two networks is a warning, which flaxd's table takes away."""
    node.ovs["vni"] = 7
    node.write(node.document)
    second = second_network(node)
    bridge = plugin_entry(second, "bridge")
    bridge["isGateway"] = True
    bridge["ipam"] = {"type": "host-local", "subnet": "10.9.0.0/16", "rangeStart": "10.9.1.10",
                      "gateway": "10.9.1.1"}  # fmt: skip
    path = node.conf_dir / "second.conflist"
    path.write_text(json.dumps(second))
    path.chmod(0o600)
    node.chain.add("other")
    assert "between-networks" in dict(node.faults())

    node.host.run("nft", "add", "table", "inet", "linen-second")
    assert "between-networks" not in dict(node.faults())


def test_multus_has_a_copy_of_before(node: Node) -> None:
    """Multus' copy of a conflist that has changed since is a warning, until it is made anew."""
    file = node.conf_dir / "00-multus.conflist"
    file.write_text(json.dumps(multus_file(node.document)))
    assert node.faults() == []

    plugin_entry(node.document, "bridge")["mtu"] = 1390
    node.write(node.document)
    finding = only(node, "multus-copy", "warning")
    assert finding["where"].startswith(f"{file}: ")
    assert "mtu is 1400, and 1390 in linen.conflist" in finding["what"]

    file.write_text(json.dumps(multus_file(node.document)))
    assert node.faults() == []


@pytest.mark.parametrize(("folder", "stays"), [(CONF_DIR, "br1"), (SECONDARY_CONF_DIR, "br0")])
def test_uninstall_takes_one_of_two_networks(node: Node, folder: str, stays: str) -> None:
    """What is removed with a folder's network is not what the network in the other one needs."""
    path = add_elsewhere(node, second_network(node))
    for source, target in (node.conflist, CONF_DIR), (path, SECONDARY_CONF_DIR):
        node.host.run("install", "-D", "-m600", source, f"{target}/linen.conflist")
    node.host.run("ip", "netns", "delete", "pod")
    node.host.run("ip", "netns", "delete", "pod2")

    done = node.linenctl("uninstall", "--conf-dir", folder)

    assert done.returncode == 0, done.stderr
    assert node.host.vsctl("list-br").split() == ["br-phy", stays]
    assert (node.bin_dir / "linen").exists()
