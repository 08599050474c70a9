# SPDX-License-Identifier: Apache-2.0
"""`linenctl show`: this node's overlays as they are: bridges, tunnels, controllers, counters."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from linen.cli.console import NodeCommand, conf_dir_option, json_option, say, stdout, table
from linen.core.errors import LinenError
from linen.core.naming import MARK_VNI
from linen.host.checks.folder import read_folder
from linen.host.node import Node
from linen.host.programs import BIN_DIR

if TYPE_CHECKING:
    from linen.host.inventory import Bridge, Interface, Port
    from linen.netlink.codec import Link

_COUNTERS = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
_KIBI = 1024


@click.command(cls=NodeCommand)
@conf_dir_option
@json_option
def command(conf_dir: Path, *, as_json: bool) -> None:
    """Show this node's overlays: OVS bridges, tunnels, controllers, counters.

    Everything that Linen made or put something of its own on, also for networks whose conflist
    is gone.
    """
    bridges = _bridges(Node(read_folder(conf_dir).networks, Path(BIN_DIR)))
    if as_json:
        click.echo(json.dumps(bridges, indent=2))
        return
    if not bridges:
        say("Linen has made nothing on this node (yet): the first pod's ADD does.")
    for index, bridge in enumerate(bridges):
        if index:
            say("")
        _print(bridge)


def _bridges(node: Node) -> list[dict[str, Any]]:
    with closing(node):
        for answer in map(node.read, node.databases):
            if isinstance(answer, LinenError):
                raise answer
        masters = {link.name: node.link_at(link.master) for link in node.links.values()}
        ours = [bridge for bridge in node.bridges() if bridge.network or bridge.tunnels()]
        return [_render(bridge, masters.get(bridge.name)) for bridge in ours]


def _render(bridge: Bridge, linux_bridge: Link | None) -> dict[str, Any]:
    tunnels = bridge.tunnels()
    return {
        "bridge": bridge.name,
        "network": bridge.network or next((port.network for port, _ in tunnels), None),
        "owned": bridge.network is not None,
        "linuxBridge": linux_bridge.name if linux_bridge else None,
        "datapath": bridge.datapath,
        "vni": bridge.marks.get(MARK_VNI),
        "failMode": bridge.fail_mode,
        "spanningTree": bridge.spanning_tree,
        "controllers": [
            {"target": one.target, "connected": one.connected} for one in bridge.controllers
        ],
        "tunnels": [_render_tunnel(port, interface) for port, interface in tunnels],
        "foreignPorts": [port.name for port in bridge.foreign_ports()],
    }


def _render_tunnel(port: Port, interface: Interface) -> dict[str, Any]:
    return {
        "name": port.name,
        "network": port.network,
        "remote": interface.options.get("remote_ip"),
        "key": interface.options.get("key"),
        "protected": port.protected,
        "ofport": interface.ofport,
        "error": interface.refusal or None,
        **{name: interface.statistics.get(name, 0) for name in _COUNTERS},
    }


def _print(bridge: dict[str, Any]) -> None:
    say(f"network {bridge['network']}: OVS bridge {bridge['bridge']}", "bold")
    vni = bridge["vni"] or "none (key=flow)"
    made = "" if bridge["owned"] else ", not made by Linen"
    say(
        f"  on Linux bridge {bridge['linuxBridge'] or 'none'}, datapath {bridge['datapath']}, vni"
        f" {vni}, fail_mode {bridge['failMode'] or 'unset'}, spanning tree"
        f" {bridge['spanningTree']}{made}"
    )
    for controller in bridge["controllers"]:
        state = "connected" if controller["connected"] else "not connected"
        say(f"  controller {controller['target']}: {state}")
    if bridge["foreignPorts"]:
        say(f"  ports of others: {', '.join(bridge['foreignPorts'])}")
    if not bridge["tunnels"]:
        say("  no tunnels")
        return
    tunnels = table("  Tunnel", "to", "key", "protected", "ofport", "received", "sent", "error")
    for tunnel in bridge["tunnels"]:
        tunnels.add_row(
            f"  {tunnel['name']}",
            tunnel["remote"],
            tunnel["key"],
            "yes" if tunnel["protected"] else "no",
            "-" if tunnel["ofport"] is None else str(tunnel["ofport"]),
            _traffic(tunnel["rx_packets"], tunnel["rx_bytes"]),
            _traffic(tunnel["tx_packets"], tunnel["tx_bytes"]),
            tunnel["error"] or "",
        )
    stdout().print(tunnels, markup=False, highlight=False)


def _traffic(packets: int, octets: int) -> str:
    """Packets and bytes, the latter in the largest unit that leaves a number above one."""
    size, units = float(octets), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= _KIBI and unit != "TiB":
        size, unit = size / _KIBI, next(units)
    return f"{packets} ({size:.{0 if unit == 'B' else 1}f} {unit})"
