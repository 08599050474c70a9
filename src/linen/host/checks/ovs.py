# SPDX-License-Identifier: Apache-2.0
"""Checks of this node's Open vSwitch: is it there, and is in it what the conflists ask for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from linen.core import cluster, errors, explain, model
from linen.host.conflists import LINEN
from linen.host.findings import Check, error, note, warning
from linen.host.inventory import USERSPACE
from linen.netlink.blocking import OVS_DATAPATH_FAMILY, has_generic_family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.findings import Finding
    from linen.host.inventory import Bridge, Controller
    from linen.host.node import Node


# What Interface.error says → why. The texts are those of errno and of ovs-vswitchd.
_CAUSES = {
    "File exists": "another port, or a VXLAN device of the kernel, has this remote address and"
    " key already",
    "Address already in use": "another program of this node holds the tunnel's UDP port",
    "Address family not supported": "the kernel has no IPv6 (ipv6.disable=1), or the VTEP's family"
    " is switched off",
    "Operation not permitted": "ovs-vswitchd runs without CAP_NET_ADMIN",
    "No such device": "a device of this name is expected to exist, and does not",
    "could not open network device": "ovs-vswitchd could not make or open the device",
    "could not add network device": "the datapath refused the port",
}


def database(node: Node) -> Iterator[Finding]:
    """OVSDB answers."""
    for path in node.databases:
        answer = node.read(path)
        if isinstance(answer, errors.LinenError):
            yield error(
                f"unix:{path}",
                answer.message,
                cause="every ADD reads and writes it",
                cure=answer.details,
            )


def daemon(node: Node) -> Iterator[Finding]:
    """ovs-vswitchd serves that OVSDB."""
    for inventory in node.inventories():
        if inventory.stopped:
            yield error(
                f"unix:{inventory.path}",
                inventory.stopped,
                cause="what is written into OVSDB is carried out by that daemon alone",
                cure="`systemctl start openvswitch-switch`; ovs-vswitchd.log says why it stopped",
            )


def datapath(node: Node) -> Iterator[Finding]:
    """The kernel has the datapath that is asked for."""
    in_kernel = has_generic_family(OVS_DATAPATH_FAMILY)
    for network in node.networks:
        bridge = node.find_bridge(network)
        chosen = bridge.datapath_type if bridge else network.options.datapath_type
        if chosen == USERSPACE:
            yield note(
                network.where,
                f"OVS bridge {network.options.ovs_bridge} is served in userspace (netdev)",
                cause="each packet between nodes passes through the process ovs-vswitchd: slower"
                " than the kernel's datapath",
            )
        elif not in_kernel:
            yield error(
                network.where,
                "the kernel's Open vSwitch datapath is asked for, and the module is not loaded",
                cause="without it ovs-vswitchd makes no bridge with datapath_type system",
                cure="`modprobe openvswitch`, or set ovs.datapathType to netdev (slower)",
            )


def overlay(node: Node) -> Iterator[Finding]:
    """What is in OVSDB is what the conflists ask for."""
    for network in node.networks:
        if isinstance(node.read(network.options.ovsdb), errors.LinenError):
            continue  # the check `ovsdb` has told
        try:
            plan = node.plan(network)
        except errors.Conflict as conflict:
            cause = "Linen never changes what it did not make, so every ADD fails with code 102"
            yield error(network.where, conflict.message, cause=cause, cure=conflict.details)
            continue
        except errors.Unavailable as reason:
            cause = "every ADD asks the same of it, and fails, too"
            yield error(network.where, reason.message, cause=cause, cure=reason.details)
            continue
        if node.find_hold(network):
            continue  # no ADD gets as far; the check `attachment` tells
        if not plan.seen.tunnels and network.linux_bridge not in node.links:
            yield note(
                network.where,
                "nothing of it exists yet on this node",
                cause="the first pod's ADD makes the OVS bridge and the tunnels",
            )
            continue
        for fault in explain.faults(network.options.ovs_bridge, plan.steps):
            yield error(
                network.where,
                fault,
                cause="the conflist was changed since the last ADD, or somebody changed OVSDB",
                cure="the next pod's ADD mends it; `linenctl plan` shows what that will do",
            )


def interfaces(node: Node) -> Iterator[Finding]:
    """Open vSwitch could make every interface of ours."""
    for bridge in node.bridges():
        for interface in bridge.refused():
            causes = (why for text, why in _CAUSES.items() if text in interface.refusal)
            remote = interface.options.get("remote_ip", "other nodes")
            yield error(
                f"interface {interface.name} on OVS bridge {bridge.name}",
                f"Open vSwitch reports: {interface.refusal}",
                cause=next(causes, f"nothing reaches {remote} by it"),
                cure=f"`ovs-vsctl list interface {interface.name}`, and ovs-vswitchd.log; if the"
                " cause has gone, the next pod's ADD has ovs-vswitchd try again",
            )


def controllers(node: Node) -> Iterator[Finding]:
    """Every controller of a bridge of ours is connected."""
    for bridge in node.bridges():
        ours = [one for one in bridge.controllers if bridge.network or one.network]
        for controller in (one for one in ours if not one.connected):
            yield _unconnected(bridge, controller)


def _unconnected(bridge: Bridge, controller: Controller) -> Finding:
    status = controller.status
    reason = status.get("last_error") or status.get("state", "no reason given").lower()
    where = f"controller {controller.target} of OVS bridge {bridge.name}"
    what = f"it is not connected: {reason}"
    cure = "start the controller there, or take it out of ovs.controller"
    if bridge.fail_mode == model.FAIL_SECURE:
        cause = "with fail_mode secure nothing is forwarded without it"
        return error(where, what, cause=cause, cure=cure)
    cause = "the OVS bridge goes on as a learning switch (fail_mode standalone)"
    return warning(where, what, cause=cause, cure=cure)


def spanning_tree(node: Node) -> Iterator[Finding]:
    """No bridge has both a spanning tree and protected tunnels."""
    for bridge in node.bridges():
        protected = [port.name for port, _ in bridge.tunnels() if port.protected]
        if bridge.spanning_tree != model.STP_OFF and len(protected) > 1:
            setting = f"{bridge.spanning_tree}_enable"
            yield error(
                f"OVS bridge {bridge.name}",
                f"{setting}=true together with {len(protected)} protected tunnels",
                cause="nodes behind a tunnel that the protocol blocks are reached only through"
                " another tunnel, and protected ones never forward to one another",
                cure=f"`ovs-vsctl set bridge {bridge.name} {setting}=false`; a mesh has no loops",
            )


def many_tunnels(node: Node) -> Iterator[Finding]:
    """No bridge has so many tunnels that a broadcast does not get into each of them."""
    told = {  # by the check of the conflist that lists them
        network.options.ovs_bridge
        for network in node.networks
        if len(network.options.vteps) >= cluster.FLOOD_WARNING
    }
    for bridge in node.bridges():
        vteps = [tunnel.options.get("remote_ip", "") for _, tunnel in bridge.tunnels()]
        limit = cluster.flood_limit(vteps)
        if len(vteps) < cluster.FLOOD_WARNING or bridge.name in told:
            continue
        judge = error if len(vteps) >= limit else warning
        yield judge(
            f"OVS bridge {bridge.name}",
            f"{len(vteps)} tunnels, of which {limit} at most work",
            cause="a broadcast is copied into each, and the list of copies may have no more than"
            " 64 kB in Open vSwitch, so flaxd makes no more; nodes beyond get none",
            cure="topology flow (flaxd), which has one tunnel for all nodes",
        )


def strays(node: Node) -> Iterator[Finding]:
    """All that carries Linen's mark belongs to a network of this node's conflists."""
    wanted = {network.name for network in node.networks}
    for inventory in node.inventories():
        for name in sorted(inventory.marked_networks() - wanted):
            bridges = [bridge.name for bridge in inventory.bridges if bridge.network == name]
            tunnels = [
                port.name
                for bridge in inventory.bridges
                for port, _ in bridge.tunnels()
                if port.network == name
            ]
            rows = ", ".join(bridges + tunnels) or "a controller"
            removals = [f"del-br {bridge}" for bridge in bridges]
            removals += [f"del-port {tunnel}" for tunnel in tunnels] if not bridges else []
            yield warning(
                f"unix:{inventory.path}",
                f"rows of network {name}, which no conflist that was read defines: {rows}",
                cause="its conflist was removed or renamed, and tunnels stay until somebody asks;"
                " or it lies elsewhere, as those of Multus may",
                cure="put the conflist back, or name it: `linenctl check --live DIR FILE`; else"
                f" `ovs-vsctl {' -- '.join(removals[:5]) or 'del-controller BRIDGE'}`",
            )


def one_bridge(node: Node) -> Iterator[Finding]:
    """Each network has one OVS bridge."""
    for inventory in node.inventories():
        made = Counter(bridge.network for bridge in inventory.bridges if bridge.network)
        for name in sorted(network for network, count in made.items() if count > 1):
            bridges = [bridge.name for bridge in inventory.bridges if bridge.network == name]
            current = {
                network.options.ovs_bridge for network in node.networks if network.name == name
            }
            old = [bridge for bridge in bridges if bridge not in current]
            yield warning(
                f"unix:{inventory.path}",
                f"network {name} has several OVS bridges: {', '.join(bridges)}",
                cause="ovs.ovsBridge was changed; the plugin leaves the earlier bridge alone",
                cure="; ".join(f"`ovs-vsctl del-br {bridge}`" for bridge in old)
                + " once no pod uses it",
            )


def foreign_bridge(node: Node) -> Iterator[Finding]:
    """The OVS bridge was made by Linen."""
    for network in node.networks:
        bridge = node.find_bridge(network)
        if bridge is not None and bridge.network is None:
            yield note(
                f"OVS bridge {bridge.name}",
                f"it was there before {LINEN}, which only adds its tunnels to it",
                cause="a bridge without our mark keeps its settings: fail_mode"
                f" {bridge.fail_mode or 'unset'}, spanning tree {bridge.spanning_tree}",
                cure="if the original of 2017 made it and nothing else uses it:"
                f" `ovs-vsctl del-br {bridge.name}`; the next ADD makes it anew",
            )


REACHABLE = Check("ovsdb", "OVSDB answers", database)

# These need an OVSDB that answers.
CHECKS: tuple[Check[Node], ...] = (
    Check("vswitchd", "ovs-vswitchd runs", daemon),
    Check("datapath", "the kernel has the datapath that is asked for", datapath),
    Check("overlay", "OVSDB has what the conflists ask for", overlay),
    Check("interface-error", "Open vSwitch could make every interface", interfaces),
    Check("controller", "every controller is connected", controllers),
    Check("spanning-tree", "no bridge has a spanning tree and protected tunnels", spanning_tree),
    Check("many-tunnels", "a broadcast gets into every tunnel", many_tunnels),
    Check("stray-rows", "all marked rows belong to a conflist", strays),
    Check("several-bridges", "every network has one OVS bridge", one_bridge),
    Check("foreign-bridge", "the OVS bridges are Linen's", foreign_bridge),
)
