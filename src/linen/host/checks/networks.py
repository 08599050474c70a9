# SPDX-License-Identifier: Apache-2.0
"""Checks of the networks of one node together: each has to have everything of its own.

Some may be known from Open vSwitch alone, as those whose conflist only Multus knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING

from linen.core import desired, explain, model
from linen.core.model import VXLAN_PORT
from linen.core.obstacles import identity
from linen.host.conflists import Network
from linen.host.findings import Check, error, warning
from linen.host.node import read_setting
from linen.netlink.nftables import TABLE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.findings import Finding
    from linen.host.node import Node

Networks = Sequence[Network]

FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


def _pairs(networks: Networks) -> list[tuple[Network, Network]]:
    """Any two of one Open vSwitch; two of one name are one, of which another check tells."""
    return [
        (first, second)
        for first, second in combinations(networks, 2)
        if first.name != second.name and first.options.ovsdb == second.options.ovsdb
    ]


def _share_ovs_bridge(first: Network, second: Network) -> bool:
    return first.options.ovs_bridge == second.options.ovs_bridge


def same_ovs_bridge(networks: Networks) -> Iterator[Finding]:
    """Each network has an OVS bridge of its own."""
    for first, second in _pairs(networks):
        bridge = first.options.ovs_bridge
        if not _share_ovs_bridge(first, second):
            continue
        cure = "set another ovs.ovsBridge and ovs.vni, and another bridge in `bridge`'s entry"
        if first.options.vni != second.options.vni:
            yield error(
                second.where,
                f"its OVS bridge {bridge} is that of {first.where}, with another vni"
                f" ({second.options.vni or 'none'} and {first.options.vni or 'none'})",
                cause="networks on one OVS bridge are one network, so the plugin refuses it",
                cure=cure,
            )
        elif model.TOPOLOGY_FLOW in (first.options.topology, second.options.topology):
            yield error(
                second.where,
                f"its OVS bridge {bridge} is that of {first.where}",
                cause="in topology flow the rules of an OVS bridge are one network's, and flaxd"
                " refuses another",
                cure=cure,
            )
        else:
            yield warning(
                second.where,
                f"it shares OVS bridge {bridge} with {first.where}",
                cause="the pods of both are in one layer-2 segment",
                cure=f"{cure}, unless that is meant",
            )


def same_linux_bridge(networks: Networks) -> Iterator[Finding]:
    """Networks that are to be apart do not meet on a Linux bridge."""
    for first, second in _pairs(networks):
        if first.linux_bridge == second.linux_bridge and not _share_ovs_bridge(first, second):
            yield error(
                second.where,
                f"its Linux bridge {first.linux_bridge} is that of {first.where}, but the OVS"
                f" bridges differ ({second.options.ovs_bridge} and {first.options.ovs_bridge})",
                cause="the Linux bridge joins both overlays, and closes a loop between nodes that"
                " have both",
                cure="give each network its own `bridge` in the bridge plugin's entry",
            )


def same_tunnel(networks: Networks) -> Iterator[Finding]:
    """No two networks want the same tunnel on two OVS bridges."""
    for first, second in _pairs(networks):
        shared = _tunnels(first) & _tunnels(second)
        if shared and not _share_ovs_bridge(first, second):
            remote, key, port = min(shared)
            yield error(
                second.where,
                f"{first.where} has a tunnel to {explain.where(remote)} with key {key} on UDP port"
                f" {port} already",
                cause="Open vSwitch tells tunnels apart by address, key and port, and allows each"
                " once on a node",
                cure="give each network an ovs.vni of its own",
            )


def _tunnels(network: Network) -> set[tuple[str, str, str]]:
    options = network.options
    if options.topology == model.TOPOLOGY_FLOW:  # whose one tunnel flaxd makes
        options = options.with_vteps([model.REMOTE_BY_RULE], is_master=False)
    spec = desired.overlay_spec(options, network=network.name, maker="")
    return {identity(tunnel.options) for tunnel in spec.tunnels}


def same_vni(networks: Networks) -> Iterator[Finding]:
    """A vni stands for one network."""
    for first, second in _pairs(networks):
        vni = first.options.vni
        if vni != second.options.vni or _share_ovs_bridge(first, second):
            continue
        port, other = _port(second), _port(first)
        cure = "give each network an ovs.vni of its own"
        same = "no vni, as this one" if vni is None else f"the same vni {vni}"
        if port == other:
            yield error(
                second.where,
                f"{first.where} has {same}{_of_which_pods(first, second)}",
                cause="on the wire both are one network",
                cure=cure,
            )
        elif vni is not None:
            yield warning(
                second.where,
                f"it has vni {vni} on UDP port {port}, {first.where} the same vni on port {other}",
                cause="nodes that agree on the vni but not on the port never meet",
                cure=f"{cure}; if they are to be one, the same ovs.dstPort and one conflist",
            )


def _port(network: Network) -> int:
    return network.options.dst_port or VXLAN_PORT


def _of_which_pods(first: Network, second: Network) -> str:
    one, other = ({str(pods.subnet) for pods in each.pod_ranges} for each in (first, second))
    return ", with other pod addresses" if one and other and one != other else ""


def vni_missing(networks: Networks) -> Iterator[Finding]:
    """Where there are several networks, each has a vni."""
    for network in networks:
        options = network.options
        beside = [
            other
            for pair in _pairs(networks)
            if network in pair
            for other in pair
            if other is not network and other.options.vni is not None
        ]
        if options.vni is None and beside and options.topology != model.TOPOLOGY_FLOW:
            yield warning(
                network.where,
                f"it has no vni, and {beside[0].where} has one",
                cause="tunnels without one take in every vni that no other network of the node"
                " has, so also packets of networks that only other nodes have",
                cure="set ovs.vni, the same on all nodes of the network",
            )


def overlapping_ranges(networks: Networks) -> Iterator[Finding]:
    """No two networks in which the node is a gateway give the same address."""
    for first, second in _pairs(networks):
        if not (first.has_gateway and second.has_gateway):
            continue
        pairs = product(first.pod_ranges, second.pod_ranges)
        for one, other in (pair for pair in pairs if pair[0].overlaps(pair[1])):
            yield warning(
                second.where,
                f"its pods' range {other} overlaps {one} of {first.where}",
                cause="the node is the gateway of both and has one route for these addresses, so"
                " answers from outside reach one network alone",
                cure="let one network do without: neither isGateway nor isDefaultGateway; or give"
                " each a subnet of its own",
            )


def between_networks(node: Node) -> Iterator[Finding]:
    """The node does not route packets from one network to another."""
    forwards = [read_setting(path) for path in FORWARDING]
    networks = [network for network in node.networks if network.has_gateway]
    for first, second in _pairs(networks) if "1" in forwards else ():
        if first.linux_bridge == second.linux_bridge or _is_kept_apart(node, first, second):
            continue
        yield warning(
            second.where,
            f"the node routes packets between its pods and those of {first.where}",
            cause="it is the gateway of both, and no daemon of either keeps them apart",
            cure="run flaxd for one of them; or, for both, the reference plugin `firewall` with"
            ' "ingressPolicy": "same-bridge" in the chain; or let one do without a gateway',
        )


def _is_kept_apart(node: Node, *pair: Network) -> bool:
    """Whether flaxd's table of nftables is there for one, or the plugin `firewall` for both."""
    if any(f"{TABLE_PREFIX}{network.name}" in node.firewall_tables for network in pair):
        return True
    return all(
        any(entry.get("ingressPolicy") == "same-bridge" for _, entry in firewalls)
        for firewalls in (network.conflist.of_type("firewall") for network in pair)
    )


CHECKS: tuple[Check[Networks], ...] = (
    Check("same-ovs-bridge", "every network has an OVS bridge of its own", same_ovs_bridge),
    Check("same-linux-bridge", "no Linux bridge joins two overlays", same_linux_bridge),
    Check("same-tunnel", "no two networks want the same tunnel", same_tunnel),
    Check("same-vni", "every vni stands for one network", same_vni),
    Check("vni-missing", "where there are several networks, each has a vni", vni_missing),
    Check("overlapping-ranges", "no two networks give the same address", overlapping_ranges),
)

# These look at the node itself.
NODE_CHECKS: tuple[Check[Node], ...] = (
    Check("between-networks", "the node does not route between networks", between_networks),
)
