# SPDX-License-Identifier: Apache-2.0
"""`linenctl check` on a real node: silent while all is well, and each fault provoked for real."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.conftest import UNDERLAY, only
from support.cni import plugin_entry
from support.host import DATAPATH
from support.paths import DEBIAN_PLUGINS, EXAMPLES, LINENCTL

if TYPE_CHECKING:
    from cli.conftest import Node
    from support.host import Host


def test_healthy_node(node: Node) -> None:
    """A node with a pod has no error and no warning; exit status 0."""
    done = node.linenctl("check")

    assert node.faults() == []
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 errors, 0 warnings")


def test_before_the_first_pod(fresh: Node) -> None:
    """A node without any pod yet has no error: what is missing is explained."""
    notes = {one["check"]: one["what"] for one in fresh.findings()}

    assert fresh.faults() == []
    assert "nothing of it exists yet" in notes["overlay"]


def test_kernel_datapath_missing(fresh: Node) -> None:
    """The kernel's datapath without its module is an error."""
    del fresh.ovs["datapathType"]
    fresh.write(fresh.document)

    assert "modprobe" in only(fresh, "datapath")["cure"]


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (("del-port", "vxif10_245_2_3"), "tunnel to 10.245.2.3"),
        (("set", "Interface", "vxif10_245_2_3", "options:key=5"), "key=5"),
        (("set", "Bridge", "br0", "fail_mode=secure"), "fail_mode=secure"),
    ],
    ids=["no tunnel", "other key", "fail_mode"],
)
def test_overlay_differs(node: Node, damage: tuple[str, ...], word: str) -> None:
    """What somebody changed in OVSDB is an error, in the words that CHECK has for it."""
    node.host.vsctl(*damage)

    assert word in only(node, "overlay")["what"]


def test_conflict(fresh: Node) -> None:
    """What the plugin would refuse as a conflict is an error before any pod is lost to it."""
    fresh.host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    fresh.ovs["datapathType"] = "system"
    fresh.write(fresh.document)

    assert "code 102" in only(fresh, "overlay")["cause"]


@pytest.mark.parametrize(
    ("beginning", "count", "severity"),
    [("10.9", 496, None), ("10.9", 497, "warning"), ("fd00:9", 597, "error")],
)
def test_many_tunnels(node: Node, beginning: str, count: int, severity: str | None) -> None:
    """Tunnels that the daemon made are counted, the three of the conflist among them."""
    node.host.vsctl("--no-wait", *(word for number in range(count) for word in (
        "--", "add-port", "br0", f"t{number}", "--", "set", "port", f"t{number}",
        "external_ids:linen-network=linen-network", "--", "set", "interface", f"t{number}",
        "type=vxlan", f"options:remote_ip={remote(beginning, number)}",
    )))  # fmt: skip

    found = [fault for fault in node.faults() if fault[0] == "many-tunnels"]
    assert found == ([("many-tunnels", severity)] if severity else [])


def remote(beginning: str, number: int) -> str:
    """One of many addresses."""
    return (
        f"{beginning}::{number:x}"
        if ":" in beginning
        else f"{beginning}.{number >> 8}.{number & 255}"
    )


def test_interface_error(node: Node) -> None:
    """An interface that Open vSwitch could not make is an error that quotes it."""
    marked = "external_ids:linen-network=linen-network"
    node.host.vsctl(
        "add-port", "br0", "twin", "--", "set", "port", "twin", marked, "--", "set", "interface",
        "twin", "type=vxlan", "options:remote_ip=10.245.2.3", "options:key=flow",
    )  # fmt: skip

    finding = only(node, "interface-error")

    assert "twin" in finding["where"]
    assert "File exists" in finding["what"]
    assert "remote address and key already" in finding["cause"]


def test_controller_unconnected(fresh: Node) -> None:
    """A controller that does not answer is a warning, since the switch goes on without it."""
    fresh.ovs["controller"] = "127.0.0.1:6653"
    fresh.write(fresh.document)
    fresh.chain.add("pod")

    finding = only(fresh, "controller", "warning")

    assert "tcp:127.0.0.1:6653" in finding["where"]
    assert "standalone" in finding["cause"]


def test_controller_unconnected_with_fail_mode_secure(fresh: Node) -> None:
    """Where nothing is forwarded without it, an absent controller is an error."""
    fresh.ovs["controller"] = "127.0.0.1:6653"
    fresh.write(fresh.document)
    fresh.chain.add("pod")
    fresh.host.vsctl("set-fail-mode", "br0", "secure")

    assert ("controller", "error") in fresh.faults()


def test_spanning_tree_with_protected_tunnels(fresh: Node) -> None:
    """A spanning tree over a mesh's protected tunnels is an error."""
    fresh.ovs["topology"] = "mesh"
    fresh.write(fresh.document)
    fresh.chain.add("pod")
    fresh.host.vsctl("set", "bridge", "br0", "rstp_enable=true")

    findings = {one["check"]: one for one in fresh.findings()}

    assert "3 protected tunnels" in findings["spanning-tree"]["what"]


def test_rows_of_a_forgotten_network(node: Node) -> None:
    """Rows whose network no conflist defines any more are a warning, with what removes them."""
    node.document["name"] = "renamed"
    node.ovs.update(ovsBridge="br1", vni=7)
    plugin_entry(node.document, "bridge")["bridge"] = "kbr1"
    node.write(node.document)

    found = {one["check"]: one for one in node.findings() if one["severity"] != "note"}

    assert "linen-network" in found["stray-rows"]["what"]
    assert "del-br br0" in found["stray-rows"]["cure"]
    assert "network linen-network" in found["vni-missing"]["where"]  # while they are there
    assert len(found) == 2


def test_several_bridges(node: Node) -> None:
    """A bridge left from an earlier ovsBridge is a warning, and the one to remove is named."""
    node.host.vsctl(
        "add-br", "br9", "--", "set", "bridge", "br9", f"datapath_type={DATAPATH}",
        "external_ids:linen-network=linen-network", "external_ids:linen-maker=plugin",
    )  # fmt: skip

    assert "del-br br9" in only(node, "several-bridges", "warning")["cure"]


def test_bridge_of_somebody_else(fresh: Node) -> None:
    """An OVS bridge that Linen did not make is a note: its settings are left alone."""
    fresh.host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    fresh.chain.add("pod")

    notes = {one["check"]: one["what"] for one in fresh.findings()}

    assert "was there before" in notes["foreign-bridge"]
    assert fresh.faults() == []


def test_mac_not_pinned(fresh: Node) -> None:
    """A Linux bridge whose MAC would follow its ports is a warning."""
    fresh.host.run("ip", "link", "add", "kbr0", "type", "bridge")
    fresh.host.run("ip", "link", "set", "kbr0", "up")
    fresh.host.vsctl(
        "add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}",
        "external_ids:linen-network=linen-network",
    )  # fmt: skip

    assert ("pinned-mac", "warning") in fresh.faults()


def test_mtu_too_large(fresh: Node) -> None:
    """Pods whose packets do not fit into the underlay are a warning with the right number."""
    plugin_entry(fresh.document, "bridge")["mtu"] = 1480
    fresh.write(fresh.document)
    fresh.chain.add("pod")

    assert "mtu to 1450" in only(fresh, "underlay-mtu", "warning")["cure"]


def test_no_route_to_a_node_of_topology_flow(node: Node) -> None:
    """Where rules say where packets go, the nodes are those that the daemon keeps."""
    addresses = [f"10.99.0.{number}" for number in range(1, 8)]
    known = node.state_dir / "linen-network" / "peers.json"
    known.parent.mkdir(parents=True)
    known.write_text(json.dumps({"nodes": [{"vtep": address} for address in addresses]}))
    node.host.vsctl(
        "--no-wait", "add-port", "br0", "rules", "--", "set", "port", "rules",
        "external_ids:linen-network=linen-network", "--", "set", "interface", "rules",
        "type=vxlan", "options:remote_ip=flow",
    )  # fmt: skip

    (what,) = [one["what"] for one in node.findings() if one["check"] == "vtep-route"]
    assert what == f"no route leads to {', '.join(addresses[:5])} and 2 more"


def test_own_address_among_vteps(node: Node) -> None:
    """The node's own address in the list of VTEPs is a note, not a fault."""
    node.ovs["vtepIPs"].append("10.245.2.1")
    node.write(node.document)

    notes = {one["check"]: one["what"] for one in node.findings()}

    assert "10.245.2.1" in notes["own-vtep"]
    assert node.faults() == []


def test_no_route_to_a_vtep(node: Node) -> None:
    """A VTEP that no route leads to is a warning."""
    node.ovs["vtepIPs"].append("10.99.0.1")
    node.write(node.document)

    assert ("vtep-route", "warning") in node.faults()


def test_userspace_tunnels_without_a_way_out(host: Host, fresh: Node) -> None:
    """A userspace datapath whose underlay is no OVS bridge is an error: nothing would leave."""
    host.vsctl("del-br", UNDERLAY)
    host.run("ip", "link", "add", UNDERLAY, "type", "bridge")
    host.run("ip", "address", "add", "10.245.2.1/24", "dev", UNDERLAY)
    host.run("ip", "link", "set", UNDERLAY, "up")

    assert UNDERLAY in only(fresh, "userspace-underlay")["what"]


@pytest.mark.parametrize(
    "cure",
    [
        ("ip", "link", "set", "uplink", "arp", "off"),
        ("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/uplink/arp_ignore"),
    ],
)
def test_kernel_answers_beside_userspace(host: Host, fresh: Node, cure: tuple[str, ...]) -> None:
    """That an uplink, too, answers ARP for the VTEP's address is a warning; its cures are cures."""
    host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far")
    host.vsctl("add-port", UNDERLAY, "uplink")

    assert only(fresh, "underlay-arp", "warning")["where"] == "uplink"
    host.run(*cure)
    assert fresh.faults() == []


def test_port_taken_by_another_vxlan_device(fresh: Node) -> None:
    """A VXLAN device of another network plugin on the tunnels' UDP port is an error."""
    fresh.ovs["datapathType"] = "system"
    fresh.write(fresh.document)
    fresh.host.run(
        "ip", "link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "4789",
        "local", "10.245.2.1", "nolearning",
    )  # fmt: skip

    findings = {one["check"]: one for one in fresh.findings()}

    assert "flannel.1" in findings["vxlan-port"]["what"]


def test_program_missing(node: Node) -> None:
    """A plugin that the conflist names and the runtime would not find is an error."""
    (node.bin_dir / "host-local").unlink()

    assert only(node, "programs")["where"] == str(node.bin_dir / "host-local")


def test_program_not_working(node: Node) -> None:
    """A plugin that does not answer VERSION is an error."""
    path = node.bin_dir / "host-local"
    path.unlink()
    path.write_text("#!/bin/sh\necho broken\n")
    path.chmod(0o755)

    assert "broken" in only(node, "cni-version")["what"]


@pytest.mark.parametrize(
    ("version", "several", "key", "cure"),
    [
        ("1.1.0", [], "cniVersion", "set cniVersion to 1.0.0"),
        ("1.0.0", ["1.0.0", "1.1.0"], "cniVersions", "take 1.1.0 out of cniVersions"),
    ],
)
def test_version_that_a_plugin_does_not_speak(
    node: Node, version: str, several: list[str], key: str, cure: str
) -> None:
    """A version that the runtime may choose and a plugin lacks is an error that names both."""
    node.write(node.document | {"cniVersion": version, "cniVersions": several})
    path = node.bin_dir / "bridge"
    path.unlink()
    path.symlink_to(DEBIAN_PLUGINS / "bridge")

    finding = only(node, "cni-version")

    assert finding["where"] == f"{node.conflist}: {key}"
    assert "bridge does not speak 1.1.0" in finding["what"]
    assert cure in finding["cure"]


def test_default_route_twice_is_what_bridge_refuses(fresh: Node) -> None:
    """The conflist that the check refuses is one with which ADD fails, and with that text."""
    routes = [{"dst": "0.0.0.0/0"}]
    plugin_entry(fresh.document, "bridge")["ipam"]["routes"] = routes
    fresh.write(fresh.document)
    fresh.host.add_namespace("pod")

    failed = fresh.chain.run("add", "pod")

    findings = {one["check"]: one for one in fresh.findings()}
    assert "file exists" in failed.stderr
    assert "file exists" in findings["default-route-twice"]["what"]


def test_files_alone(host: Host) -> None:
    """Named files are judged without asking the node; the original's have only their old place."""
    files = sorted((EXAMPLES / "original").glob("*.conflist"))
    host.signal("KILL", "ovsdb-server")

    done = host.run(*LINENCTL, "check", "--json", *files)

    found = [one for one in json.loads(done.stdout) if one["severity"] != "ok"]
    assert [(one["check"], one["severity"]) for one in found] == 3 * [("legacy-options", "warning")]


def test_words_for_people(node: Node) -> None:
    """A finding is printed with place, name, cause and cure, each in a line."""
    node.host.run("ip", "link", "set", "br0", "nomaster")

    done = node.linenctl("doctor")

    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0].startswith("error    network linen-network")
    assert lines[0].endswith("[attachment]")
    assert lines[1].split()[0] == "cause:"
    assert lines[2].split()[0] == "cure:"
