# SPDX-License-Identifier: Apache-2.0
"""Checks of this node's kernel: its Linux bridges, and the way to the other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core import addresses, place
from linen.core.model import VXLAN_PORT
from linen.host.conflists import BRIDGE, is_managed
from linen.host.findings import Check, error, note, warning
from linen.host.inventory import USERSPACE, Inventory
from linen.host.node import read_setting
from linen.netlink.neighbour_tables import nearly_full_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.conflists import Network
    from linen.host.findings import Finding
    from linen.host.inventory import Bridge
    from linen.host.node import Node
    from linen.netlink.codec import Link

KERNEL_MTU = 1500  # bytes; what a Linux bridge has that nobody told otherwise
NAMED = 5  # addresses in a finding; there may be thousands
NO_ARP = 0x80  # IFF_NOARP, linux/if.h
ADDRESS_SET = "3"  # NET_ADDR_SET, linux/netdevice.h
OWN_DEVICE = "vxlan_sys_"  # the kernel's VXLAN devices that ovs-vswitchd makes


def attachment(node: Node) -> Iterator[Finding]:
    """The OVS bridge hangs on its network's Linux bridge, and both are up."""
    for network in node.networks:
        ovs_bridge = node.find_bridge(network)
        if ovs_bridge is None:
            continue
        port = node.links.get(ovs_bridge.name)
        linux_bridge = node.links.get(network.linux_bridge)
        if port is None:
            yield error(
                network.where,
                f"device {ovs_bridge.name} of the OVS bridge does not exist",
                cause="ovs-vswitchd makes it; it is stopped, failed, or runs in another network"
                " namespace",
                cure="see what the checks above say of ovs-vswitchd; else ovs-vswitchd.log",
            )
        elif place.is_foreign(port):
            continue  # the check `overlay` tells
        elif conflict := node.find_hold(network):
            yield error(
                network.where,
                conflict.message,
                cause="Linen moves no OVS bridge that is not its own, so every ADD fails with code"
                " 102",
                cure=conflict.details,
            )
        elif linux_bridge is None:
            yield note(
                network.where,
                f"Linux bridge {network.linux_bridge} does not exist",
                cause="no pod has been started on this node since it booted",
            )
        else:
            yield from _hanging(node, network, port, linux_bridge)


def _hanging(node: Node, network: Network, port: Link, bridge: Link) -> Iterator[Finding]:
    if bridge.kind != BRIDGE:
        yield error(
            network.where,
            f"device {bridge.name} is {bridge.kind or 'a plain device'}, not a Linux bridge",
            cure="name another `bridge` in the bridge plugin's entry, or remove that device",
        )
        return
    if misplacement := place.misplacement(port, bridge, node.link_at(port.master)):
        yield error(
            network.where,
            misplacement,
            cause="pods reach no other node: this is the way between them and the tunnels",
            cure=f"the next pod's ADD mends it, or `ip link set {port.name} master {bridge.name}"
            " up`",
        )
    for link in (port, bridge):
        if not link.up:
            yield error(
                network.where,
                place.down(link),
                cause="nothing passes from pods into the tunnels",
                cure=f"`ip link set {link.name} up`; see what sets it down (a network manager?)",
            )


def pinned_mac(node: Node) -> Iterator[Finding]:
    """The Linux bridge's MAC address stays when its ports change."""
    for network in node.networks:
        link = node.links.get(network.linux_bridge)
        if link is None or link.kind != BRIDGE or node.find_bridge(network) is None:
            continue
        kind = read_setting(f"/sys/class/net/{link.name}/addr_assign_type")
        if kind not in (None, ADDRESS_SET):
            mac = link.mac.hex(":")
            yield warning(
                f"Linux bridge {link.name}",
                f"its MAC address {mac} is not pinned",
                cause="a Linux bridge takes the lowest MAC of its ports until one is set; when it"
                " changes, pods lose their gateway for half a minute",
                cure=f"`ip link set {link.name} address {mac}`; every ADD that attaches the OVS"
                " bridge does it too",
            )


def underlay_mtu(node: Node) -> Iterator[Finding]:
    """The pods' largest packet fits into the underlay with VXLAN's headers."""
    for network in node.networks:
        mtu = _largest_packet(node, network)
        for name, (link, overhead) in _underlay(node, network).items():
            room = link.mtu - overhead
            if mtu > room:
                yield warning(
                    network.where,
                    f"pods send packets of up to {mtu} bytes; {name} carries {link.mtu}, of which"
                    f" VXLAN takes {overhead}",
                    cause="larger packets are cut up or lost: connections open and then hang",
                    cure=_smaller_packets(network, room, overhead),
                )


def _largest_packet(node: Node, network: Network) -> int:
    """Bytes that pods send at a time: those that run by their devices, as long as there are any."""
    bridge = node.links.get(network.linux_bridge)
    pods = [
        link.mtu
        for link in node.links.values()
        if bridge and link.master == bridge.index and link.name != network.options.ovs_bridge
    ]
    return max(pods, default=node.mtu(network) or KERNEL_MTU)


def _smaller_packets(network: Network, room: int, overhead: int) -> str:
    has_ipv6 = any(pods.subnet.version == 6 for pods in network.pod_ranges)
    if room < addresses.IPV6_MTU and has_ipv6:
        needed = addresses.IPV6_MTU + overhead
        return f"give the underlay an MTU of {needed}: IPv6 needs {addresses.IPV6_MTU} for pods"
    keep = "pods that run keep theirs until they are started anew"
    if is_managed(network.conflist.document):
        return f"flaxd gives new pods {room} or less, unless its setting mtu is larger; {keep}"
    return (
        f"set mtu to {room} or less in the bridge plugin's entry; {keep}."
        f" `ip link set {network.linux_bridge} mtu {room}`"
    )


def _underlay(node: Node, network: Network) -> dict[str, tuple[Link, int]]:
    """The devices that tunnels leave by, each with the largest overhead of VXLAN through it."""
    found: dict[str, tuple[Link, int]] = {}
    for vtep in node.vteps(network):
        route = node.route(vtep)
        link = node.link_at(route.link) if route and not route.is_local else None
        if link is not None:
            known = found.get(link.name, (link, 0))[1]
            found[link.name] = (link, max(known, addresses.overhead(vtep)))
    return found


def own_vtep(node: Node) -> Iterator[Finding]:
    """Which of the VTEPs is this node."""
    for network in node.networks:
        for vtep in network.options.vteps:
            route = node.route(vtep)
            if route is not None and route.is_local:
                yield note(
                    network.where,
                    f"vtepIPs has {vtep}, which is this node itself; it is left out",
                    cause="so all nodes can share one list",
                )


def reachable_vteps(node: Node) -> Iterator[Finding]:
    """There is a route to every other node."""
    for network in node.networks:
        lost = sorted(vtep for vtep in node.vteps(network) if node.route(vtep) is None)
        if lost:
            more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
            yield warning(
                network.where,
                f"no route leads to {', '.join(lost[:NAMED])}{more}",
                cause="VXLAN packets to these nodes have nowhere to go",
                cure="`ip route get ADDRESS`; correct the address or the underlay's routes",
            )


def userspace_underlay(node: Node) -> Iterator[Finding]:
    """Userspace tunnels leave through an OVS bridge that has the underlay's address.

    ovs-vswitchd encapsulates by itself then, and sends by its own ports alone ("Connecting VMs
    Using Tunnels (Userspace)" in the Open vSwitch documentation).
    """
    for network, name, carrier in _ways_of_userspace(node):
        if carrier is None or carrier.datapath_type != USERSPACE:
            yield error(
                network.where,
                f"tunnels of the userspace datapath cannot leave by {name}",
                cause="ovs-vswitchd sends VXLAN by its own netdev bridges alone, so the"
                " underlay's address has to be on one of them",
                cure=f"make an OVS bridge with datapath_type=netdev, add {name} to it, and move"
                f" the addresses of {name} to it; or use ovs.datapathType system",
            )


def underlay_arp(node: Node) -> Iterator[Finding]:
    """Nobody but the OVS bridge answers ARP for the address that userspace tunnels leave from.

    The kernel sees the frames of a userspace bridge's links, too, and answers on each link for the
    addresses of all (ip-sysctl, arp_ignore). A peer sends to the MAC that answered last.
    """
    answering = {
        (carrier.name, link)
        for network, _, carrier in _ways_of_userspace(node)
        # IPv6's neighbour discovery answers for a link's own addresses alone.
        if carrier is not None and any(":" not in vtep for vtep in node.vteps(network))
        for link in carrier.links()
        if _answers_arp(link)
    }
    for carrier, link in sorted(answering):
        yield warning(
            link,
            f"the kernel answers ARP on it for the addresses of OVS bridge {carrier}",
            cause="ovs-vswitchd answers as well, with the right MAC; a node that hears the kernel"
            f" last sends its tunnels' packets to {link}'s MAC, where they are lost",
            cure=f"`ip link set {link} arp off`, or `sysctl net.ipv4.conf.{link}.arp_ignore=1`; on"
            " every node, and at each boot",
        )


def _ways_of_userspace(node: Node) -> Iterator[tuple[Network, str, Bridge | None]]:
    """By which device a userspace network's tunnels leave, and the OVS bridge that has it."""
    for network in node.networks:
        bridge, inventory = node.find_bridge(network), node.read(network.options.ovsdb)
        if isinstance(inventory, Inventory) and _in_userspace(network, bridge):
            for name in _underlay(node, network):
                yield network, name, inventory.bridge_of_device(name)


def _answers_arp(link: str) -> bool:
    flags = int(read_setting(f"/sys/class/net/{link}/flags") or "0", 16)
    chosen = (read_setting(f"/proc/sys/net/ipv4/conf/{conf}/arp_ignore") for conf in ("all", link))
    return bool(flags) and not flags & NO_ARP and max(int(one or "0") for one in chosen) == 0


def _in_userspace(network: Network, bridge: Bridge | None) -> bool:
    chosen = bridge.datapath_type if bridge else network.options.datapath_type
    return chosen == USERSPACE


def vxlan_port(node: Node) -> Iterator[Finding]:
    """No other VXLAN device of the kernel holds the tunnels' UDP port."""
    kernel = [one for one in node.networks if not _in_userspace(one, node.find_bridge(one))]
    if not kernel:
        return
    holders = _vxlan_devices()
    for network in kernel:
        port = network.options.dst_port or VXLAN_PORT
        if port in holders:
            yield error(
                network.where,
                f"the kernel's VXLAN device {holders[port]} holds UDP port {port} already",
                cause="two VXLAN devices share a port only if both are set up alike; Open"
                " vSwitch's never is like that of another network plugin",
                cure=f"remove it if nothing uses it (`ip link del {holders[port]}`), or set"
                " ovs.dstPort to another port, the same on all nodes",
            )


def _vxlan_devices() -> dict[int, str]:
    """By UDP port, the VXLAN devices that are not Open vSwitch's own."""
    from pyroute2 import IPRoute  # 0.3 s, and only the kernel's datapath asks

    found = {}
    with IPRoute() as kernel:
        for link in kernel.get_links():
            info = link.get_attr("IFLA_LINKINFO")
            if info is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
                continue
            name = link.get_attr("IFLA_IFNAME")
            data = info.get_attr("IFLA_INFO_DATA")
            if not name.startswith(OWN_DEVICE) and data is not None:
                found[int(data.get_attr("IFLA_VXLAN_PORT") or 0)] = name
    return found


def neighbour_table(_node: Node) -> Iterator[Finding]:
    """The kernel has room for all neighbours that pods and this node talk to."""
    for table in nearly_full_tables():
        yield warning(
            "this node",
            f"the kernel knows {table.entries} IPv{table.version} neighbours, of at most"
            f" {table.most} in all network namespaces together",
            cause="all pods are one Ethernet segment, so each has an entry for each that it talks"
            " to, and flaxd's probes have one for each node; beyond that packets get lost",
            cure=f"`sysctl -w {table.setting}={table.most * 16}`, and gc_thresh2 to half of that,"
            " on all nodes, and in /etc/sysctl.d",
        )


# These need an OVSDB that answers.
OVS_CHECKS: tuple[Check[Node], ...] = (
    Check("attachment", "every OVS bridge hangs on its Linux bridge, both up", attachment),
    Check("pinned-mac", "the Linux bridges keep their MAC addresses", pinned_mac),
    Check("userspace-underlay", "userspace tunnels have a way out", userspace_underlay),
    Check("underlay-arp", "userspace tunnels' address has one MAC", underlay_arp),
)

CHECKS: tuple[Check[Node], ...] = (
    Check("underlay-mtu", "the pods' packets fit into the underlay", underlay_mtu),
    Check("own-vtep", "every VTEP is another node", own_vtep),
    Check("vtep-route", "a route leads to every VTEP", reachable_vteps),
    Check("vxlan-port", "the tunnels' UDP port is free", vxlan_port),
    Check("neighbour-table", "the kernel has room for all neighbours", neighbour_table),
)
