# SPDX-License-Identifier: Apache-2.0
"""`linenctl check` on what a node does with its pods' packets: firewall, routes, IPv6's needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.conftest import only
from support.cni import plugin_entry

if TYPE_CHECKING:
    from cli.conftest import Node

IPV6_PODS = {
    "type": "host-local",
    "subnet": "fd00:244::/48",
    "rangeStart": "fd00:244::2",
    "rangeEnd": "fd00:244::99",
    "gateway": "fd00:244::1",
}


def test_firewall_drops_forwarding(node: Node) -> None:
    """Docker's policy DROP without a rule for the pods is a warning; a rule for them cures it."""
    node.host.run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1")
    node.host.run("iptables", "-P", "FORWARD", "DROP")
    assert "kbr0" in only(node, "forward-drop", "warning")["what"]

    node.host.run("iptables", "-I", "FORWARD", "-i", "kbr0", "-j", "ACCEPT")

    assert node.faults() == []


def test_firewall_drops_forwarding_of_ipv6(fresh: Node) -> None:
    """Where pods have IPv6 alone it is ip6tables' policy that counts, and iptables' does not."""
    plugin_entry(fresh.document, "bridge")["ipam"] = IPV6_PODS
    fresh.write(fresh.document)
    for program in "iptables", "ip6tables":
        fresh.host.run("sysctl", "-w", f"net.bridge.bridge-nf-call-{program}=1")
        fresh.host.run(program, "-P", "FORWARD", "DROP")

    finding = only(fresh, "forward-drop", "warning")

    assert "ip6tables drops" in finding["what"]
    assert "fd00:244::/48" in finding["what"]
    fresh.host.run("ip6tables", "-I", "FORWARD", "-i", "kbr0", "-j", "ACCEPT")
    assert fresh.faults() == []


def test_firewall_that_cannot_be_read(node: Node) -> None:
    """Without iptables, as in flaxd's container, a note says that its rules were not looked at."""
    node.host.run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1")
    node.host.run("mount", "--bind", "/dev/null", "/usr/sbin/iptables")

    (finding,) = (one for one in node.findings() if one["check"] == "forward-drop")

    assert (finding["severity"], finding["where"]) == ("note", "iptables")


def test_way_out_that_routers_advertise(fresh: Node) -> None:
    """A default route that goes when the node begins to route for IPv6 pods is a warning."""
    for words in (
        "-6 address add fe80::9/64 dev br-phy nodad",
        "-6 route add default via fe80::1 dev br-phy proto ra",
    ):
        fresh.host.run("ip", *words.split())
    assert fresh.faults() == []  # pods have no IPv6

    plugin_entry(fresh.document, "bridge")["ipam"] = IPV6_PODS
    fresh.write(fresh.document)

    finding = only(fresh, "router-advertisements", "warning")
    assert "by br-phy" in finding["what"]
    fresh.host.run("sysctl", "-w", "net.ipv6.conf.br-phy.accept_ra=2")
    assert fresh.faults() == []


def test_no_masquerade_under_bridge_netfilter(fresh: Node) -> None:
    """Without ipMasq and with br_netfilter there is a note, which the sysctl takes away."""
    fresh.host.run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1")
    plugin_entry(fresh.document, "bridge")["ipMasq"] = False
    fresh.write(fresh.document)
    assert "masquerade" in {one["check"] for one in fresh.findings()}

    fresh.host.run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0")

    assert "masquerade" not in {one["check"] for one in fresh.findings()}


def test_underlay_too_narrow_for_ipv6(fresh: Node) -> None:
    """Where the underlay leaves less than IPv6 pods need, it is the underlay that has to change."""
    entry = plugin_entry(fresh.document, "bridge")
    entry["ipam"] = IPV6_PODS
    fresh.write(fresh.document)
    fresh.host.run("ip", "link", "set", "br-phy", "mtu", "1329")

    assert "an MTU of 1330" in only(fresh, "underlay-mtu", "warning")["cure"]


def test_underlay_too_narrow_for_tunnels_of_the_daemon(node: Node) -> None:
    """Where the conflist names no peers, the tunnels that there are tell what they need."""
    node.host.run("ip", "address", "add", "fd00:245::1/64", "dev", "br-phy", "nodad")
    node.host.run("ip", "link", "set", "br-phy", "mtu", "1469")
    node.ovs["vtepIPs"] = []
    node.write(node.document)
    tunnels = [line for line in node.host.vsctl("list-ports", "br0").split() if "vxif" in line]
    for tunnel in tunnels[1:]:
        node.host.vsctl("del-port", tunnel)
    node.host.vsctl(
        "set", "interface", tunnels[0], "options:remote_ip=fd00:245::2",
        "--", "set", "port", tunnels[0], "external_ids:linen-maker=flaxd",
    )  # fmt: skip

    found = {one["check"]: one for one in node.findings()}

    assert "set mtu to 1399 or less" in found["underlay-mtu"]["cure"]  # 1469 less 70
