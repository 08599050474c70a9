# SPDX-License-Identifier: Apache-2.0
"""Keeps pods in their network, where the host's own routing would let them out of it.

A packet that a pod sends to a node leaves with this node's address, if it is masqueraded, and a pod
may as well write a false sender itself. Open vSwitch would take such a packet for one of this
node's, of whatever network. So UDP to the ports of all of this node's networks is dropped where it
comes from the Linux bridge, once a Service's address has been translated. (What goes through the
OVS bridge is not routed: rules drop it there, see `rules` and `bridge_guard`.)

A host that has several networks would route from the Linux bridge of one to that of another. So
what would go that way is dropped, in both directions, whether or not the other network has a daemon
of its own.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import product
from typing import TYPE_CHECKING

from linen import streams
from linen.flaxd import devices
from linen.host.node import read_setting
from linen.netlink.codec import NetlinkError
from linen.netlink.nftables import TABLE_PREFIX, Nftables, no_vxlan, no_way

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from linen.flaxd.local_networks import LocalNetworks
    from linen.netlink.nftables import Rule
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.firewall")

# Seconds until it is seen that somebody has emptied the firewall, or that the kernel has IPVS now.
INTERVAL = 10.0
IPVS = "/proc/net/ip_vs"  # which is there in each network namespace once the module is loaded


class Firewall:
    """Keeps one table of nftables. `fault`: why it can't; empty while it does.

    `is_settled`: it has tried.
    `networks`: this node's.
    `underlay`: the devices that other nodes' packets come in by, None while they aren't known.
    `on_change`: called when `fault` or `is_settled` is another.
    """

    def __init__(
        self,
        settings: Settings,
        networks: LocalNetworks,
        underlay: Callable[[], Collection[str] | None],
        on_change: Callable[[], None],
    ) -> None:
        self.fault = ""
        self.is_settled = False
        self._networks = networks
        self._underlay = underlay
        self._table = f"{TABLE_PREFIX}{settings.network}"
        self._device = settings.linux_bridge
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._known_others: frozenset[str] = frozenset()
        self._known_ports: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Look every few seconds until cancelled. The table stays."""
        await self._wake.wait()  # before OVSDB has told of other networks, theirs would be left out
        while True:
            self._wake.clear()
            underlay = self._underlay()
            if underlay is not None:
                before = self.fault, self.is_settled
                self.fault, self.is_settled = self._ensure(underlay), True
                if (self.fault, self.is_settled) != before:
                    self._on_change()
            await streams.is_set_within(self._wake, INTERVAL)

    def consider(self) -> None:
        """Look at once if this node's networks are others than they were, or until it has tried."""
        known = self._known_others, self._known_ports
        now = self._networks.others(), self._networks.vxlan_ports()
        if not self.is_settled or now != known:
            self._wake.set()

    def _ensure(self, underlay: Collection[str]) -> str:
        """Have the table; why it isn't there, or nothing."""
        networks = self._networks
        self._known_others, self._known_ports = networks.others(), networks.vxlan_ports()
        try:
            nftables = Nftables()
        except OSError as error:
            return self._text(error.strerror or str(error))
        try:
            if self._device in underlay:  # the table would drop what other nodes send
                if self._table in nftables.tables():
                    nftables.remove(self._table)
                return self._text(f"{self._device} has the tunnels' address as well as the pods")
            rules = self._rules(underlay)
            if not nftables.drops(self._table, rules):
                nftables.drop(self._table, rules)
                away = ", nor reach another network" if self._known_others else ""
                log.info("pods cannot send VXLAN%s: wrote nftables' %s", away, self._table)
        except NetlinkError as error:
            return self._text(devices.reason(error))
        finally:
            nftables.close()
        return ""

    def _rules(self, underlay: Collection[str]) -> list[Rule]:
        """Other networks' pods must not send VXLAN into this one, either."""
        others = sorted(self._known_others)
        senders = [self._device, *(other for other in others if other not in underlay)]
        ports = sorted(self._known_ports)
        ipvs = read_setting(IPVS) is not None
        rules = [rule for one in product(senders, ports) for rule in no_vxlan(*one, ipvs=ipvs)]
        for other in others:
            rules += [no_way(self._device, other), no_way(other, self._device)]
        return rules

    def _text(self, reason: str) -> str:
        return (
            f"pods can send VXLAN to nodes, into any network: nftables' table {self._table} cannot"
            f" be made: {reason}"
        )
