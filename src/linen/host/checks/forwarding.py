# SPDX-License-Identifier: Apache-2.0
"""Checks of what this node does with packets that are not its own: it routes for its pods."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

from linen.host.findings import Check, note, warning
from linen.host.node import read_setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from linen.host.conflists import Network
    from linen.host.findings import Finding
    from linen.host.node import Node

# By IP version: the firewall's program, and what shows it bridged packets.
FIREWALLS = {
    4: ("iptables", "bridge-nf-call-iptables"),
    6: ("ip6tables", "bridge-nf-call-ip6tables"),
}
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
RTPROT_RA = 9  # linux/rtnetlink.h: a route out of a router advertisement
HOSTS_ALONE = "1"  # of accept_ra: heeded where this host does not route
IPV6_SETTINGS = "/proc/sys/net/ipv6/conf"


def dropped_forwarding(node: Node) -> Iterator[Finding]:
    """The firewall's chain FORWARD lets the pods' packets pass."""
    for version, (program, setting) in FIREWALLS.items():
        networks = list(_subnets(node, version)) if _sees_bridged_packets(setting) else []
        if not networks:
            continue
        rules = _forward_rules(program)
        if rules is None:
            yield note(
                program,
                "its chain FORWARD could not be read: the program is not here, or refuses",
                cause=f"with {setting}=1 what that chain drops cuts off pods of one node; flaxd's"
                " image, for one, has no such program",
                cure=f"call `linenctl check` on the node itself, as root, if it has {program}",
            )
            continue
        if "-P FORWARD DROP" in rules:
            yield from _not_accepted(networks, program, setting, rules)


def _not_accepted(
    networks: Iterable[tuple[Network, list[str]]], program: str, setting: str, rules: list[str]
) -> Iterator[Finding]:
    accepting = [rule.split() for rule in rules if rule.endswith("-j ACCEPT")]
    for network, subnets in networks:
        names = {network.linux_bridge, *subnets}
        if any(names & set(rule) for rule in accepting):
            continue
        yield warning(
            network.where,
            f"{program} drops what it is to forward (policy DROP), and no rule accepts"
            f" {network.linux_bridge} or {', '.join(subnets) or 'its subnet'}",
            cause=f"{setting}=1 sends packets between pods of one Linux bridge through"
            " that chain too; Docker sets this policy",
            cure=f"`{program} -I FORWARD -i {network.linux_bridge} -j ACCEPT` and the same"
            " with -o, made to last; or let the runtime's `firewall` plugin do it",
        )


def _sees_bridged_packets(setting: str) -> bool:
    return read_setting(f"/proc/sys/net/bridge/{setting}") == "1"


def _subnets(node: Node, version: int) -> Iterator[tuple[Network, list[str]]]:
    """The networks that have pods of an IP version, each with its subnets, as far as is known."""
    for network in node.networks:
        ranges = network.pod_ranges
        subnets = [str(pods.subnet) for pods in ranges if pods.subnet.version == version]
        if subnets or (version == 4 and not ranges):
            yield network, subnets


def _forward_rules(program: str) -> list[str] | None:
    """What the program has in its chain FORWARD; None where it does not say."""
    path = shutil.which(program, path=SYSTEM_FOLDERS)
    if path is None:
        return None
    done = subprocess.run(
        [path, "-w", "5", "-S", "FORWARD"],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return None if done.returncode else done.stdout.splitlines()


def masquerade(node: Node) -> Iterator[Finding]:
    """Answers of a service come back through the node that translated its address."""
    for version, (_, setting) in FIREWALLS.items():
        if not _sees_bridged_packets(setting):
            continue
        for network, _ in _subnets(node, version):
            if network.bridge_entry.get("ipMasq"):
                continue
            yield note(
                network.where,
                f"ipMasq is off while {setting}=1",
                cause="a pod that calls a NodePort of another node gets its answer straight from"
                " the service's pod, past the node that has to translate it back; measured, no"
                " such call succeeds unless that pod is on the node that was called",
                cure='if services are used (kube-proxy): "ipMasq": true in the bridge plugin\'s'
                " entry; the sysctl has to stay, or pods get no answers from ClusterIPs",
            )


def router_advertisements(node: Node) -> Iterator[Finding]:
    """A way out over IPv6 that routers advertise outlasts that this node routes for pods."""
    affected = [
        network
        for network, _ in _subnets(node, 6)
        if network.bridge_entry.get("isGateway") or network.bridge_entry.get("isDefaultGateway")
    ]
    devices = _advertised_ways_out() if affected else []
    for device in devices:
        if read_setting(f"{IPV6_SETTINGS}/{device}/accept_ra") == HOSTS_ALONE:
            yield warning(
                affected[0].where,
                f"the IPv6 default route by {device} comes from router advertisements, and goes"
                " with the first pod",
                cause="the bridge plugin makes the node a router (net.ipv6.conf.all.forwarding=1),"
                " and with accept_ra=1 routers heed no router advertisements",
                cure=f"`sysctl -w net.ipv6.conf.{device}.accept_ra=2`, made to last; or let a"
                " network manager heed them",
            )


def _advertised_ways_out() -> list[str]:
    """The devices with an IPv6 default route out of a router advertisement."""
    from pyroute2 import IPRoute  # 0.3 s, and only IPv6 asks

    with IPRoute() as kernel:
        routes = kernel.get_routes(family=socket.AF_INET6)
        ways = [route for route in routes if route["dst_len"] == 0 and route["proto"] == RTPROT_RA]
        indexes = sorted({route.get_attr("RTA_OIF") for route in ways} - {None})
        return [kernel.get_links(index)[0].get_attr("IFLA_IFNAME") for index in indexes]


CHECKS: tuple[Check[Node], ...] = (
    Check("forward-drop", "the firewall forwards the pods' packets", dropped_forwarding),
    Check("masquerade", "answers of services come back the same way", masquerade),
    Check(
        "router-advertisements",
        "the node's way out over IPv6 stays when it routes for pods",
        router_advertisements,
    ),
)
