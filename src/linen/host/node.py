# SPDX-License-Identifier: Apache-2.0
"""This node, read when it is asked about and then remembered: what the live checks look at."""

from __future__ import annotations

from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from linen.core import errors, place
from linen.core.model import REMOTE_BY_RULE, OverlayOptions
from linen.host.conflists import Conflist, Network
from linen.host.inventory import read_inventory, read_once_settled
from linen.host.overlay import find_plan
from linen.host.record import STATE_DIR, known_vteps
from linen.light.sock import Deadline
from linen.netlink.blocking import Netlink
from linen.netlink.codec import NetlinkError
from linen.netlink.nftables import Nftables
from linen.ovsdb.blocking import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.core.plan import Plan
    from linen.host.inventory import Bridge, Inventory
    from linen.netlink.codec import Link, Route

PATIENCE = 5.0  # seconds for one talk with OVSDB
SECOND_LOOK = 2.0  # seconds of them for ovs-vswitchd to take back an error
DEFAULT_OVSDB = OverlayOptions().ovsdb


class Node:
    """The networks that this node's conflists define, and what is really there."""

    def __init__(
        self, networks: Sequence[Network], bin_dir: Path, state_dir: Path = Path(STATE_DIR)
    ) -> None:
        self.networks = networks
        self.bin_dir = bin_dir
        self._state_dir = state_dir
        self._netlink = Netlink()
        self._read: dict[str, Inventory | errors.LinenError] = {}
        self._vteps: dict[str, set[str]] = {}
        self._routes: dict[str, Route | None] = {}

    def close(self) -> None:
        """Hang up on the kernel."""
        self._netlink.close()

    @property
    def databases(self) -> list[str]:
        """The sockets of the OVSDBs that the networks name; the usual one if there are none."""
        named = {network.options.ovsdb for network in self.networks}
        return sorted(named) or [DEFAULT_OVSDB]

    def read(self, path: str) -> Inventory | errors.LinenError:
        """One OVSDB, or why it could not be read."""
        if path not in self._read:
            try:
                with Connection(path, Deadline(PATIENCE)) as connection:
                    self._read[path] = read_inventory(connection)
            except errors.LinenError as error:
                self._read[path] = error
        return self._read[path]

    def settle(self) -> None:
        """Read an OVSDB anew in which Open vSwitch reports errors, and wait for them to go.

        Before the kernel is asked, which has other devices then.
        """
        for inventory in (one for one in self.inventories() if one.refused()):
            with suppress(errors.LinenError):  # then what was read stands
                with Connection(inventory.path, Deadline(PATIENCE)) as connection:
                    settled = read_once_settled(connection, Deadline(SECOND_LOOK))
                self._read[inventory.path] = settled

    def inventories(self) -> list[Inventory]:
        """The OVSDBs that could be read."""
        found = (self.read(path) for path in self.databases)
        return [one for one in found if not isinstance(one, errors.LinenError)]

    def bridges(self) -> list[Bridge]:
        """The OVS bridges of all of them."""
        return [bridge for inventory in self.inventories() for bridge in inventory.bridges]

    def find_bridge(self, network: Network) -> Bridge | None:
        """A network's OVS bridge, None where there is none or its OVSDB could not be read."""
        inventory = self.read(network.options.ovsdb)
        if isinstance(inventory, errors.LinenError):
            return None
        return inventory.find_bridge(network.options.ovs_bridge)

    def unlisted_networks(self) -> list[Network]:
        """The networks that Open vSwitch has, and no conflist that was read."""
        known = {network.name for network in self.networks}
        return [
            Network(
                name=name,
                options=bridge.options_of(name, inventory.path),
                conflist=Conflist(Path(f"unix:{inventory.path}"), {}),
                bridge_entry={"bridge": self._linux_bridge_of(bridge)},
            )
            for inventory in self.inventories()
            for name in sorted(inventory.marked_networks() - known)
            for bridge in inventory.bridges
            if bridge.serves(name)
        ]

    def _linux_bridge_of(self, bridge: Bridge) -> str:
        """What an OVS bridge hangs on; itself where that is nothing, as no Linux bridge is."""
        port = self.links.get(bridge.name)
        master = self.link_at(port.master) if port else None
        return master.name if master else bridge.name

    def vteps(self, network: Network) -> set[str]:
        """Where a network's tunnels lead: by its conflist, by what flaxd has made, by rules."""
        if network.name not in self._vteps:
            self._vteps[network.name] = self._find_vteps(network)
        return self._vteps[network.name]

    def _find_vteps(self, network: Network) -> set[str]:
        bridge = self.find_bridge(network)
        made = (
            {one.options.get("remote_ip", "") for _, one in bridge.tunnels()} if bridge else set()
        )
        if REMOTE_BY_RULE in made:
            made |= known_vteps(self._state_dir, network.name)
        return {*network.options.vteps, *made} - {"", REMOTE_BY_RULE}

    def plan(self, network: Network) -> Plan:
        """Compare a network with what is there. Raises `Unavailable` or `Conflict`."""
        connection = Connection(network.options.ovsdb, Deadline(PATIENCE))
        try:
            place.refuse_foreign(self.links.get(network.options.ovs_bridge))
            return find_plan(network, connection, self._netlink, self.mtu(network))
        finally:
            connection.close()

    def find_hold(self, network: Network) -> errors.Conflict | None:
        """The error of an ADD that must leave the network's OVS bridge on another Linux bridge.

        None where it may hang where the network's pods are.
        """
        port = self.links.get(network.options.ovs_bridge)
        linux_bridge = self.links.get(network.linux_bridge)
        ovs_bridge = self.find_bridge(network)
        if port is None or not place.is_held(port, linux_bridge, ovs_bridge, network.name):
            return None
        return place.held(port, self.link_at(port.master), network.name)

    def mtu(self, network: Network) -> int | None:
        """The MTU of a network's Linux bridge, in bytes: the real one, else the configured one."""
        link = self.links.get(network.linux_bridge)
        return link.mtu if link else network.mtu

    @cached_property
    def links(self) -> dict[str, Link]:
        """All network devices by name."""
        return {link.name: link for link in self._netlink.links()}

    @cached_property
    def firewall_tables(self) -> frozenset[str]:
        """The names of nftables' tables of flaxd's families; none that this process may not see."""
        try:
            with closing(Nftables()) as nftables:
                return frozenset(nftables.tables())
        except (NetlinkError, OSError):
            return frozenset()

    def link_at(self, index: int) -> Link | None:
        """The network device with this index."""
        return next((link for link in self.links.values() if link.index == index), None)

    def route(self, vtep: str) -> Route | None:
        """Where packets to a VTEP go, None where there is no route."""
        if vtep not in self._routes:
            self._routes[vtep] = self._netlink.find_route(vtep)
        return self._routes[vtep]


def read_setting(path: str) -> str | None:
    """The text of a file below /proc/sys or /sys, None where the kernel has none."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None
