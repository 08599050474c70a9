# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch in a node: real daemons, at the paths where a distribution has them.

`--detach` makes each daemon's first process wait until the daemon serves: ovsdb-server listens,
ovs-vswitchd has carried out the database's configuration.
So the start needs neither polling nor sleeping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.lab import links
from linen.lab.errors import DaemonFailed, ProgramFailed

if TYPE_CHECKING:
    from linen.lab.node import Node

LOGS = "/var/log/openvswitch"
UNDERLAY_BRIDGE = "br-phy"
_DATABASE = "/etc/openvswitch/conf.db"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_SOCKET = "/var/run/openvswitch/db.sock"
_TAIL_LINES = 20
_START_DEADLINE = 30  # seconds


def start_switch(node: Node, datapath: str) -> None:
    """Start both daemons and give the node its VTEP address; DaemonFailed quotes the log."""
    node.run(["ovsdb-tool", "create", _DATABASE, _SCHEMA])
    _start_daemon(node, "ovsdb-server", _DATABASE, f"--remote=punix:{_SOCKET}")
    node.run(["ovs-vsctl", "--no-wait", "init"])
    _start_daemon(node, "ovs-vswitchd", f"unix:{_SOCKET}")
    node.call_in_network(_set_links_up)
    uplink = _build_underlay_bridge(node) if datapath == "netdev" else links.UPLINK
    node.call_in_network(lambda: links.add_address(uplink, node.description.vtep))


def log_tail(node: Node, daemon: str) -> str:
    """Give the last lines that a daemon of the node has logged."""
    try:
        lines = (node.root / LOGS[1:] / f"{daemon}.log").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


def _start_daemon(node: Node, daemon: str, *arguments: str) -> None:
    command = [daemon, *arguments, "--pidfile", "--log-file", "-vconsole:off", "--detach"]
    try:
        node.run(command, timeout=_START_DEADLINE)
    except ProgramFailed as error:
        raise DaemonFailed(node.name, daemon, str(error), log_tail(node, daemon)) from error


def _build_underlay_bridge(node: Node) -> str:
    """Put eth0 under an OVS bridge, so that userspace OVS can encapsulate by itself.

    See "Connecting VMs Using Tunnels (Userspace)" in the Open vSwitch documentation.
    """
    node.call_in_network(lambda: links.disable_offloads([links.UPLINK]))
    # The kernel sees the packets of eth0, too. Its answers there would lead others to eth0's MAC,
    # at which no tunnel ends.
    node.call_in_network(lambda: links.silence_arp(links.UPLINK))
    bridge = UNDERLAY_BRIDGE
    # ovs-vsctl returns when ovs-vswitchd has carried this out, so the bridge's link exists then.
    node.run(
        f"ovs-vsctl --timeout={_START_DEADLINE} add-br {bridge}"
        f" -- set bridge {bridge} datapath_type=netdev"
        f" -- add-port {bridge} {links.UPLINK}".split()
    )
    return bridge


def _set_links_up() -> None:
    for name in ("lo", links.UPLINK):
        links.set_link_state(name, up=True)
