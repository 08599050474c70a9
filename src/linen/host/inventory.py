# SPDX-License-Identifier: Apache-2.0
"""All that an OVSDB says about bridges, as a tree, whosever they are.

The plugin reads only its own rows, and few columns; people want to see the rest too: counters,
controllers' states, foreign ports beside ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linen.core import errors, naming
from linen.core.model import (
    FAIL_SECURE,
    OLDEST_OVS,
    TOPOLOGY_FLOW,
    TOPOLOGY_MESH,
    OverlayOptions,
    refusal,
)
from linen.core.naming import MARK_VNI
from linen.core.notation import is_, optional, pairs, select, to_set, uuids
from linen.core.observed import SYSTEM_DATAPATHS
from linen.ovsdb import vswitchd
from linen.ovsdb.blocking import TransactionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linen.light.sock import Deadline
    from linen.ovsdb.blocking import Connection

    Row = dict[str, Any]

_BRIDGE = ("_uuid", "name", "external_ids", "datapath_type", "fail_mode", "stp_enable",
           "rstp_enable", "ports", "controller")  # fmt: skip
_PORT = ("_uuid", "name", "external_ids", "protected", "interfaces")
_INTERFACE = ("_uuid", "name", "type", "options", "ofport", "error", "statistics")
_CONTROLLER = ("_uuid", "target", "external_ids", "is_connected", "status")

VXLAN, INTERNAL = "vxlan", "internal"
LINK_TYPES = ("", "system")  # a device that exists without Open vSwitch
USERSPACE = "netdev"


@dataclass(frozen=True)
class Interface:
    """`ofport`: None until ovs-vswitchd has dealt with it, -1 if it failed; `error` says why."""

    name: str
    type: str
    options: dict[str, str]
    ofport: int | None
    error: str
    statistics: dict[str, int]

    @property
    def refusal(self) -> str:
        """What Open vSwitch has against it; "" for nothing."""
        return refusal(self.ofport, self.error)


@dataclass(frozen=True)
class Port:
    """A port. `marks`: its external_ids."""

    uuid: str
    name: str
    marks: dict[str, str]
    protected: bool
    interfaces: tuple[Interface, ...]

    @property
    def network(self) -> str | None:
        """The network of Linen that owns it, None for a foreign one."""
        return self.marks.get(naming.MARK_NETWORK)

    @property
    def tunnel(self) -> Interface | None:
        """Its VXLAN interface, None where it is no tunnel."""
        return next((one for one in self.interfaces if one.type == VXLAN), None)


@dataclass(frozen=True)
class Controller:
    """An OpenFlow controller of a bridge. `status`: what ovs-vswitchd tells of the connection."""

    uuid: str
    target: str
    marks: dict[str, str]
    connected: bool
    status: dict[str, str]

    @property
    def network(self) -> str | None:
        """The network of Linen that owns it."""
        return self.marks.get(naming.MARK_NETWORK)


@dataclass(frozen=True)
class Bridge:
    """An OVS bridge. `datapath_type`: "" for the kernel's."""

    uuid: str
    name: str
    marks: dict[str, str]
    datapath_type: str
    fail_mode: str
    spanning_tree: str
    ports: tuple[Port, ...]
    controllers: tuple[Controller, ...]

    @property
    def network(self) -> str | None:
        """The network of Linen that made it, None for a foreign one."""
        return self.marks.get(naming.MARK_NETWORK)

    @property
    def datapath(self) -> str:
        """Its datapath's name for people."""
        return self.datapath_type or "system"

    @property
    def internal(self) -> Interface | None:
        """The interface of the port that carries the bridge's name."""
        own = (port for port in self.ports if port.name == self.name)
        return next((one for port in own for one in port.interfaces), None)

    def tunnels(self) -> list[tuple[Port, Interface]]:
        """The tunnels that Linen made."""
        return [(port, port.tunnel) for port in self.ports if port.network and port.tunnel]

    def refused(self) -> list[Interface]:
        """What Open vSwitch has not made of what Linen has put here."""
        ours = [tunnel for _, tunnel in self.tunnels()]
        if self.network and self.internal:
            ours.append(self.internal)
        return [interface for interface in ours if interface.refusal]

    def links(self) -> list[str]:
        """The network devices that are its ports and that Open vSwitch did not make."""
        return [
            one.name for port in self.ports for one in port.interfaces if one.type in LINK_TYPES
        ]

    def serves(self, network: str) -> bool:
        """Whether it is the OVS bridge of this network, or has tunnels of it."""
        return self.network == network or any(port.network == network for port in self.ports)

    def options_of(self, network: str, ovsdb: str) -> OverlayOptions:
        """A network's options, as far as they show here. `ovsdb`: the socket."""
        tunnels = [one.options for port, one in self.tunnels() if port.network == network]
        keys = {options.get("key", "") for options in tunnels} | {self.marks.get(MARK_VNI, "")}
        vnis = sorted(int(key) for key in keys if key.isdecimal())
        ports = sorted(options["dst_port"] for options in tunnels if "dst_port" in options)
        return OverlayOptions(
            ovs_bridge=self.name,
            ovsdb=ovsdb,
            vni=vnis[0] if vnis else None,
            dst_port=int(ports[0]) if ports else None,
            topology=TOPOLOGY_FLOW if self.fail_mode == FAIL_SECURE else TOPOLOGY_MESH,
            vteps=[options.get("remote_ip", "") for options in tunnels],
        )

    def foreign_ports(self) -> list[Port]:
        """The ports that are neither Linen's nor the bridge's own."""
        return [port for port in self.ports if not port.network and port.name != self.name]


@dataclass(frozen=True)
class Inventory:
    """One OVSDB. `stopped`: why nothing serves it, "" while ovs-vswitchd runs."""

    path: str
    version: str
    stopped: str
    bridges: tuple[Bridge, ...]

    def find_bridge(self, name: str) -> Bridge | None:
        """The OVS bridge `name`."""
        return next((bridge for bridge in self.bridges if bridge.name == name), None)

    def refused(self) -> list[Interface]:
        """What Open vSwitch has not made of ours, on any bridge."""
        return [interface for bridge in self.bridges for interface in bridge.refused()]

    def bridge_of_device(self, device: str) -> Bridge | None:
        """The OVS bridge that has this network device as an internal port."""
        for bridge in self.bridges:
            for port in bridge.ports:
                if any(one.name == device and one.type == INTERNAL for one in port.interfaces):
                    return bridge
        return None

    def marked_networks(self) -> set[str]:
        """The networks that own anything here."""
        owners = {bridge.network for bridge in self.bridges}
        for bridge in self.bridges:
            owners |= {port.network for port in bridge.ports}
            owners |= {controller.network for controller in bridge.controllers}
        return {owner for owner in owners if owner is not None}


def read_inventory(connection: Connection) -> Inventory:
    """Read all bridges and what hangs on them. Raises `Unavailable`."""
    questions = [
        select("Open_vSwitch", [], ("ovs_version",)),
        select("Bridge", [], _BRIDGE),
        select("Port", [], _PORT),
        select("Interface", [], _INTERFACE),
        select("Controller", [], _CONTROLLER),
    ]
    path = connection.path
    stopped = "" if vswitchd.is_running(path) else vswitchd.stopped(path).message
    try:
        answers = connection.transact(questions)
    except TransactionError as error:
        raise unreadable(path, error) from None
    switches, bridges, ports, interfaces, controllers = (answer["rows"] for answer in answers)
    tree = _Tree(ports, interfaces, controllers)
    version = optional(switches[0]["ovs_version"]) if switches else ""
    return Inventory(
        path,
        version or "",
        stopped,
        tuple(sorted(map(tree.bridge, bridges), key=lambda bridge: bridge.name)),
    )


def read_once_settled(connection: Connection, deadline: Deadline) -> Inventory:
    """Read it, as soon as no interface of ours is refused, or else when the deadline has passed.

    What is in Interface.error may be of options that have been put right since: ovs-vswitchd takes
    it back by itself when it gets to that change, so that waiting is enough. The plugin has it look
    at everything once more instead (`next_cfg`). Whoever looks for faults must not: then
    ovs-vswitchd also tries again what it had given up, such as a tunnel whose address another port
    had at the time. That mends the node, and nobody would learn that pods have been cut off. Until
    somebody has it look, such an interface does not exist, so its error is true.

    Raises `Unavailable`.
    """
    inventory = read_inventory(connection)
    while inventory.refused() and not inventory.stopped and deadline.remaining():
        _wait_for_news(connection, inventory.refused()[0], deadline)
        inventory = read_inventory(connection)
    return inventory


def _wait_for_news(connection: Connection, interface: Interface, deadline: Deadline) -> None:
    """Let OVSDB wait until the interface is another one, or another thing is said of it."""
    seen = {"error": to_set([interface.error] if interface.error else [])}
    ofport = to_set([] if interface.ofport is None else [interface.ofport])
    wait = {
        "op": "wait",
        "table": "Interface",
        "where": is_("name", interface.name),
        "columns": ["error", "ofport"],
        "until": "!=",
        "rows": [seen | {"ofport": ofport}],
        "timeout": int(deadline.remaining() * 1000),
    }
    try:
        connection.transact([wait])
    except TransactionError as error:
        if error.kind != "timed out":
            raise unreadable(connection.path, error) from None


def unreadable(path: str, error: TransactionError) -> errors.Unavailable:
    """The error of an OVSDB that is there, and refuses a question."""
    return errors.Unavailable(
        f"OVSDB at {path} refuses to be read: {error}",
        f"Open vSwitch {OLDEST_OVS} or newer is needed",
    )


class _Tree:
    """Rows by UUID, put together from the leaves up."""

    def __init__(
        self, ports: Iterable[Row], interfaces: Iterable[Row], controllers: Iterable[Row]
    ) -> None:
        self._interfaces = {row["_uuid"][1]: _interface(row) for row in interfaces}
        self._ports = {row["_uuid"][1]: self._port(row) for row in ports}
        self._controllers = {row["_uuid"][1]: _controller(row) for row in controllers}

    def _port(self, row: Row) -> Port:
        return Port(
            uuid=row["_uuid"][1],
            name=row["name"],
            marks=pairs(row["external_ids"]),
            protected=row["protected"],
            interfaces=tuple(self._interfaces[uuid] for uuid in uuids(row["interfaces"])),
        )

    def bridge(self, row: Row) -> Bridge:
        """One bridge with all that hangs on it."""
        ports = [self._ports[uuid] for uuid in uuids(row["ports"])]
        controllers = [self._controllers[uuid] for uuid in uuids(row["controller"])]
        classic = "stp" if row["stp_enable"] else "off"
        system = row["datapath_type"] in SYSTEM_DATAPATHS
        return Bridge(
            uuid=row["_uuid"][1],
            name=row["name"],
            marks=pairs(row["external_ids"]),
            datapath_type="" if system else row["datapath_type"],
            fail_mode=optional(row["fail_mode"]) or "",
            spanning_tree="rstp" if row["rstp_enable"] else classic,
            ports=tuple(sorted(ports, key=lambda port: port.name)),
            controllers=tuple(sorted(controllers, key=lambda one: one.target)),
        )


def _interface(row: Row) -> Interface:
    return Interface(
        name=row["name"],
        type=row["type"],
        options=pairs(row["options"]),
        ofport=optional(row["ofport"]),
        error=optional(row["error"]) or "",
        statistics={key: int(value) for key, value in pairs(row["statistics"]).items()},
    )


def _controller(row: Row) -> Controller:
    return Controller(
        uuid=row["_uuid"][1],
        target=row["target"],
        marks=pairs(row["external_ids"]),
        connected=row["is_connected"],
        status=pairs(row["status"]),
    )
