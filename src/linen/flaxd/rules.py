# SPDX-License-Identifier: Apache-2.0
"""The rules of topology flow on this node's OVS bridge: worked out, compared, put in place.

Each decision compares all rules that are wanted with all that the bridge has, and writes the
difference. What leads to one peer depends on that peer alone and is worked out once, so one more
node is as few rules in a cluster of ten thousand as of ten.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from linen.core import flows
from linen.core.routes import routes
from linen.flaxd.probe import gateways
from linen.host.settings import REPLICATE
from linen.openflow import table, wire
from linen.openflow.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linen.core import cluster
    from linen.core.routes import Route
    from linen.flaxd.reconcile import Decision
    from linen.host.settings import Settings

log = logging.getLogger("flaxd.rules")

# Measured: userspace Open vSwitch 3.1 gives up beyond 64 kB of actions for one packet, which are
# 780 copies over IPv4 and 630 over IPv6.
REPLICATE_LIMIT = 500
NAMED = 5  # nodes that a line of the log names


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rules there are: that there should be, of those in place, and of others.

    `written`, `deleted`: since the daemon's start.
    """

    wanted: int
    installed: int
    foreign: int
    written: int
    deleted: int


class _OfPeer(NamedTuple):
    """What leads to one peer, and what that depends on."""

    vtep: str
    ranges: tuple[str, ...]
    entries: list[wire.Entry]


class Rules:
    """Keeps the rules of one OVS bridge in line with the decisions.

    `on_change`: called when somebody else has changed a rule, or the bridge comes or goes.
    """

    def __init__(self, settings: Settings, on_change: Callable[[], None]) -> None:
        overlay = settings.overlay
        folder = PurePath(overlay.ovsdb).parent  # Open vSwitch has all its sockets in one folder
        self.session = Session(str(folder / f"{overlay.ovs_bridge}.mgmt"), on_change)
        self._bridge = overlay.ovs_bridge
        self._cluster_range = settings.cluster_range
        self._replicates = settings.broadcast == REPLICATE
        self._view: cluster.View | None = None
        self._outlet: flows.Outlet | None = None  # where packets leave, or left the last time
        self._has_outlet = False  # whether they leave there now
        self._mac = b""
        self._routes: Sequence[Route] = ()
        self._range_faults: Sequence[str] = ()
        self._entries: dict[bytes, bytes] = {}
        self._of_peers: dict[str, _OfPeer] = {}
        self._written = 0
        self._deleted = 0
        self._known: set[str] = set()  # the names of the nodes that there are rules for

    async def run(self) -> None:
        """Keep the connection to the OVS bridge up until cancelled."""
        await self.session.run()

    def learn(self, view: cluster.View | None, decision: Decision, mac: bytes) -> None:
        """Work out which rules there should be, if anything is another than the last time.

        `mac`: of the Linux bridge, empty while there is none.
        """
        self._has_outlet = decision.outlet is not None
        if view is None or view.own is None or decision.outlet is None:
            return
        if view is self._view and decision.outlet == self._outlet and mac == self._mac:
            return
        if decision.outlet != self._outlet:
            self._of_peers = {}
        self._view, self._outlet, self._mac = view, decision.outlet, mac
        whole = view.cluster_range or self._cluster_range
        self._routes, self._range_faults = routes(view.own, decision.neighbours.peers, whole)
        self._entries = self._all_entries(decision.outlet, view.own, tuple(whole))

    def missing(self) -> table.Changes | None:
        """What is to be written; None where nothing is, or nothing can be."""
        if self._view is None or not self._has_outlet or not self.session.connected:
            return None
        changes = table.difference(self._entries, self.session.table.rules)
        if not self._view.complete:  # nothing is removed from half a view
            changes = table.Changes(changes.add, [])
        return changes if changes.add or changes.delete else None

    async def write(self, changes: table.Changes) -> None:
        """Carry out `changes`. Raises `Unavailable` or `OvsRefused`."""
        await self.session.apply(changes)
        self._written += len(changes.add)
        self._deleted += len(changes.delete)
        before, self._known = self._known, set(self._of_peers)
        cause = _cause(self._known - before, before - self._known)
        log.info("rules: %d written, %d deleted: %s", len(changes.add), len(changes.delete), cause)

    def waiting(self) -> tuple[str, ...]:
        """Why the rules are not in place (yet); nothing when they are."""
        if not self._has_outlet:
            return (f"the tunnel to all nodes on OVS bridge {self._bridge} is not there yet",)
        if not self.session.connected:
            return (f"OpenFlow at {self.session.path}: {self.session.problem}",)
        return ()

    def faults(self) -> tuple[str, ...]:
        """What is wrong without keeping the overlay from working."""
        faults = [*self._range_faults]
        if self.session.connected and (foreign := self.session.table.foreign()):
            faults.append(
                f"OVS bridge {self._bridge} has rules that are not Linen's ({foreign}), which may"
                f" let packets by or keep them: look at `ovs-ofctl dump-flows {self._bridge}`"
            )
        if self._replicates and len(self._routes) > REPLICATE_LIMIT:
            faults.append(
                f"broadcasts are replicated to {REPLICATE_LIMIT} nodes at most, since Open vSwitch"
                f" gives up beyond, and there are {len(self._routes)}: they are dropped; let"
                " broadcast be drop, or make several networks"
            )
        return tuple(faults)

    def counts(self) -> Counts:
        """How many rules there are now: none that we know of while nobody tells."""
        if not self.session.connected:
            return Counts(len(self._entries), 0, 0, self._written, self._deleted)
        seen = self.session.table.rules
        installed = sum(seen.get(key) == content for key, content in self._entries.items())
        foreign = self.session.table.foreign()
        return Counts(len(self._entries), installed, foreign, self._written, self._deleted)

    def _all_entries(
        self, outlet: flows.Outlet, own: cluster.Peer, cluster_range: Sequence[str]
    ) -> dict[bytes, bytes]:
        """All rules that are wanted."""
        copies = self._routes if self._replicates else ()
        if len(copies) > REPLICATE_LIMIT:
            copies = ()
        common = [*flows.common_rules(outlet), flows.broadcast_rule(outlet, copies)]
        if self._mac:
            own_gateways = gateways(own.ranges, cluster_range)
            common += flows.asker_rules(self._mac, own_gateways, cluster_range)
        entries = dict(map(wire.entry, common))
        known, self._of_peers = self._of_peers, {}
        for route in self._routes:
            found = known.get(route.name)
            if found is None or found.vtep != route.vtep or found.ranges != route.ranges:
                rules = flows.peer_rules(outlet, route)
                found = _OfPeer(route.vtep, route.ranges, [wire.entry(rule) for rule in rules])
            self._of_peers[route.name] = found
            entries.update(found.entries)
        return entries


def _cause(joined: set[str], left: set[str]) -> str:
    parts = [
        f"{what} {', '.join(sorted(names)) if len(names) <= NAMED else f'{len(names)} nodes'}"
        for what, names in (("new", joined), ("gone", left))
        if names
    ]
    return "; ".join(parts) or "something was not as it should be"
