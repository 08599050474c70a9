# SPDX-License-Identifier: Apache-2.0
"""Keeps pods from sending VXLAN through OVS bridges that learn: a mesh's and a star's.

A pod reaches other nodes' gateways through the OVS bridge. Userspace Open vSwitch looks for VXLAN
in all that it is about to hand to a bridge's device, to whichever of the node's addresses it is
sent, and takes it for another node's if the pod has written that node's address into it. So two
rules drop it where it comes from the pods, as in topology flow, where they are among all others
(`rules`). A network whose conflist lists its peers has no daemon, so those of other networks see to
its OVS bridge.

Nobody tells that a rule is gone: a connection that is kept for that costs packets more than a look
now and then does.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from linen import streams
from linen.core import flows
from linen.core.errors import LinenError
from linen.openflow import wire
from linen.openflow.session import socket_of, visit
from linen.openflow.table import Changes, Comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from linen.core.model import Observed
    from linen.flaxd.local_networks import LocalNetworks
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.guard")

INTERVAL = 10.0  # seconds until it is seen that the rules are gone
_GUARDS = wire.entry(flows.Rule(flows.GUARD, ())).key  # what the keys of such rules begin with


class _Situation(NamedTuple):
    """What decides whether to look at once.

    `wanted`: the OVS bridges to be guarded, each with a UDP port. `seen`: the own network's.
    `vswitchd`: which ovs-vswitchd serves them.
    """

    wanted: frozenset[tuple[str, int]]
    seen: Observed | None
    vswitchd: object


class BridgeGuard:
    """Keeps the rules on OVS bridges. `faults`: where it can't, and why.

    `networks`: this node's. `on_change`: called when `faults` are others, or it has seen to a
    bridge.
    """

    def __init__(
        self, settings: Settings, networks: LocalNetworks, on_change: Callable[[], None]
    ) -> None:
        self.faults: tuple[str, ...] = ()
        # OVS bridges, each with a UDP port, since ovs-vswitchd is there.
        self._seen_to: frozenset[tuple[str, int]] = frozenset()
        self._settings = settings
        self._networks = networks
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._known = _Situation(frozenset(), None, None)

    async def run(self) -> None:
        """Look every few seconds until cancelled. The rules stay."""
        while True:
            await streams.is_set_within(self._wake, INTERVAL)
            self._wake.clear()
            wanted, vswitchd = self._known.wanted, self._known.vswitchd
            bridges, ports = {one for one, _ in wanted}, {port for _, port in wanted}
            faults = [await self._ensure(bridge, ports) for bridge in sorted(bridges)]
            if self._known.vswitchd != vswitchd:
                continue  # that was about one that is gone
            found = tuple(filter(None, faults)), wanted
            if found != (self.faults, self._seen_to):
                self.faults, self._seen_to = found
                self._on_change()

    @property
    def is_settled(self) -> bool:
        """Whether it has seen to all OVS bridges that are known, for better or worse."""
        return self._known.wanted <= self._seen_to

    def consider(self, seen: Observed | None, vswitchd: object) -> None:
        """Look at once if OVS bridges or ports are others than they were, or may be made anew.

        `seen`: the own network's. `vswitchd`: which ovs-vswitchd serves them.
        """
        now = _Situation(self._wanted(), seen, vswitchd)
        if now.vswitchd != self._known.vswitchd:
            self.faults, self._seen_to = (), frozenset()  # of the time before
        if now != self._known:
            self._known = now
            self._wake.set()

    def _wanted(self) -> frozenset[tuple[str, int]]:
        """Which OVS bridges are to be guarded, and at which UDP ports: each at all of them."""
        bridges, ports = self._networks.learning_bridges(), self._networks.vxlan_ports()
        return frozenset(product(bridges, ports))

    async def _ensure(self, bridge: str, ports: Collection[int]) -> str:
        """Have the rules on one OVS bridge; why they aren't there, or nothing."""
        wanted = Comparison()
        wanted.want(map(wire.entry, flows.guard_rules(ports)))
        try:
            async with visit(socket_of(self._settings.overlay.ovsdb, bridge)) as session:
                missing, left_over = wanted.difference(session.table)
                # Several daemons may see to another network's bridge, and they do not hear of a
                # port at the same time: what they remove would come and go.
                is_own = bridge == self._settings.overlay.ovs_bridge
                gone = [key for key in left_over if is_own and key.startswith(_GUARDS)]
                if missing or gone:
                    await session.apply(Changes(missing, gone))
                if missing:
                    log.info("pods cannot send VXLAN through OVS bridge %s: wrote rules", bridge)
        except LinenError as error:
            return f"pods can send VXLAN through OVS bridge {bridge}: {error.message}"
        return ""
