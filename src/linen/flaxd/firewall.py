# SPDX-License-Identifier: Apache-2.0
"""Keeps pods in their network, where the host's own routing would let them out of it.

A packet that a pod sends to a node leaves with this node's address, if it is masqueraded, and a pod
may as well write a false sender itself. Open vSwitch would take such a packet for one of this
node's, of whatever network. So UDP to the ports of all of this node's networks is dropped where it
comes from the Linux bridge, once a Service's address has been translated. (What goes through the
OVS bridge is not routed: rules drop it there, see `rules` and `bridge_guard`.)

Where `br_netfilter` is on, that is as soon as the Linux bridge hands a packet to the host. To look
there costs packets between pods nothing, while any other place would be on their way, too.

A host that has several networks would route from the Linux bridge of one to that of another. So
what would go that way is dropped, in both directions, whether or not the other network has a daemon
of its own.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from linen import streams
from linen.flaxd import bridge_netfilter, devices
from linen.host.node import read_setting
from linen.netlink.codec import NetlinkError
from linen.netlink.drop_rules import from_underlay, no_tags, no_vxlan, no_vxlan_to_groups, no_way
from linen.netlink.linux_bridge import filters_vlans
from linen.netlink.nftables import TABLE_PREFIX, Nftables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from linen.flaxd.local_networks import LocalNetworks
    from linen.netlink.nftables import Rule
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.firewall")

# Seconds until it is seen that somebody has emptied the firewall, or that the kernel has IPVS now,
# or hands over packets untranslated.
INTERVAL = 10.0
IPVS = "/proc/net/ip_vs"  # which is there in each network namespace once the module is loaded


class _Situation(NamedTuple):
    """What decides whether to look at once.

    `underlay`: the devices that other nodes' packets come in by, each with its index.
    `bridges`: the Linux bridges of all networks that are there, each with its index, which is
    another if it has been made anew. `ports`: of UDP.
    """

    underlay: frozenset[tuple[str, int]]
    bridges: frozenset[tuple[str, int]]
    ports: frozenset[int]
    has_controller: bool


class Firewall:
    """Keeps one table of nftables. `fault`: why it can't; empty while it does.

    `is_settled`: it has tried.
    `networks`: this node's.
    `underlay`: the devices that other nodes' packets come in by, with their indexes; None while
    they aren't known.
    `on_change`: called when `fault` or `is_settled` is another.
    """

    def __init__(
        self,
        settings: Settings,
        networks: LocalNetworks,
        underlay: Callable[[], Mapping[str, int] | None],
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
        self._known: _Situation | None = None

    async def run(self) -> None:
        """Look every few seconds until cancelled. The table stays."""
        await self._wake.wait()  # before OVSDB has told of other networks, theirs would be left out
        while True:
            self._wake.clear()
            self._known = self._situation()
            if self._known is not None:
                before = self.fault, self.is_settled
                self.fault, self.is_settled = self._ensure(self._known), True
                if (self.fault, self.is_settled) != before:
                    self._on_change()
            await streams.is_set_within(self._wake, INTERVAL)

    def consider(self) -> None:
        """Look at once if this node's networks are others than they were, or until it has tried."""
        if not self.is_settled or self._situation() != self._known:
            self._wake.set()

    def _situation(self) -> _Situation | None:
        """What is so now, None while the underlay is not known."""
        underlay = self._underlay()
        if underlay is None:
            return None
        networks = self._networks
        return _Situation(
            frozenset(underlay.items()),
            frozenset(networks.linux_bridges().items()),
            networks.vxlan_ports(),
            networks.have_controller(),
        )

    def _ensure(self, situation: _Situation) -> str:
        """Have the table; why it isn't there, or nothing."""
        underlay = {name for name, _ in situation.underlay}
        try:
            if self._device in underlay:  # the table would drop what other nodes send
                self._remove()
                return self._text(f"{self._device} has the tunnels' address as well as the pods")
            others = self._others(situation)
            senders = [self._device, *(other for other in others if other not in underlay)]
            self._drop(senders, situation)
        except NetlinkError as error:
            return self._text(devices.reason(error))
        except OSError as error:
            return self._text(error.strerror or str(error))
        return ""

    def _drop(self, senders: Sequence[str], situation: _Situation) -> None:
        """Have the table for pods behind some Linux bridges."""
        translated = _translated(senders, situation)
        try:
            self._write(self._rules(senders, situation, translated), situation)
        except NetlinkError as error:  # one is gone again, or the kernel cannot look there
            if not translated:
                raise
            log.debug("nftables cannot look at what %s hands over: %s", translated, error)
            self._write(self._rules(senders, situation, ()), situation)

    def _remove(self) -> None:
        with closing(Nftables()) as nftables:
            if self._table in nftables.tables():
                nftables.remove(self._table)

    def _write(self, rules: Sequence[Rule], situation: _Situation) -> None:
        with closing(Nftables()) as nftables:
            if nftables.drops(self._table, rules):
                return
            nftables.drop(self._table, rules)
        away = ", nor reach another network" if self._others(situation) else ""
        log.info("pods cannot send VXLAN%s: wrote nftables' %s", away, self._table)

    def _others(self, situation: _Situation) -> list[str]:
        """The Linux bridges of other networks."""
        return sorted(name for name, _ in situation.bridges if name != self._device)

    def _rules(
        self, senders: Sequence[str], situation: _Situation, translated: Collection[str]
    ) -> list[Rule]:
        """Other networks' pods must not send VXLAN into this one, either."""
        ports = sorted(situation.ports)
        ipvs = read_setting(IPVS) is not None
        rules = [from_underlay(*device) for device in sorted(situation.underlay)]
        rules += [no_vxlan_to_groups(port) for port in ports]
        for sender in senders:
            is_translated = sender in translated
            for port in ports:
                rules += no_vxlan(sender, port, is_translated=is_translated, ipvs=ipvs)
            if is_translated:
                rules += no_tags(sender)
        for other in self._others(situation):
            rules += [no_way(self._device, other), no_way(other, self._device)]
        return rules

    def _text(self, reason: str) -> str:
        return (
            f"pods can send VXLAN to nodes, into any network: nftables' table {self._table} cannot"
            f" be made: {reason}"
        )


def _translated(senders: Sequence[str], situation: _Situation) -> list[str]:
    """The Linux bridges that hand to the host only what has been translated already.

    With an attached controller nothing but the node's firewall keeps VXLAN of pods from going
    through the OVS bridge while that is away, so packets between pods have to pass it.
    """
    if situation.has_controller or not bridge_netfilter.is_on():
        return []
    return [name for name in senders if filters_vlans(name) is False]
