# SPDX-License-Identifier: Apache-2.0
"""The rules of topology flow on this node's OVS bridge: worked out, compared, put in place.

What leads to one peer depends on that peer alone. So what has changed is worked out again, and
compared with what the bridge has, together with what somebody else has changed there: one more
node is as few rules and as little work in a cluster of ten thousand as of ten.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from linen.core import flows
from linen.core.routes import Routes
from linen.flaxd.pod_network import gateways
from linen.openflow import wire
from linen.openflow.session import Session, socket_of
from linen.openflow.table import Changes, Comparison
from linen.settings.table import REPLICATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linen.core import cluster
    from linen.core.routes import Route
    from linen.settings.table import Settings

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


class _Basis(NamedTuple):
    """What all rules depend on."""

    outlet: flows.Outlet
    own: cluster.Peer
    cluster_range: tuple[str, ...]


class Rules:
    """Keeps the rules of one OVS bridge in line with a roster.

    `on_change`: called when somebody else has changed a rule, or the bridge comes or goes.
    """

    def __init__(
        self, settings: Settings, roster: cluster.Roster, on_change: Callable[[], None]
    ) -> None:
        overlay = settings.overlay
        self.session = Session(socket_of(overlay.ovsdb, overlay.ovs_bridge), on_change)
        self._bridge = overlay.ovs_bridge
        self._cluster_range = settings.cluster_range
        self._replicates = settings.broadcast == REPLICATE
        self._roster = roster
        self._news = roster.follow()
        self._basis: _Basis | None = None  # None until it is known
        self._has_outlet = False  # whether packets leave where they left the last time
        self._routes: Routes | None = None
        self._comparison = Comparison()
        self._around = b"", frozenset[int]()  # what `learn` is told, and the rules by that
        self._by_around: list[wire.Entry] = []
        self._written = 0
        self._deleted = 0
        # The names of the nodes that have come and gone since all rules were in place.
        self._new: set[str] = set()
        self._gone: set[str] = set()

    async def run(self) -> None:
        """Keep the connection to the OVS bridge up until cancelled."""
        await self.session.run()

    def learn(self, outlet: flows.Outlet | None, mac: bytes, udp_ports: frozenset[int]) -> None:
        """Work out which rules there should be, where anything is another than the last time.

        `outlet`: where packets leave, None while they can't. `mac`: of the Linux bridge, empty
        while there is none. `udp_ports`: those of VXLAN of all of this node's networks.
        """
        self._has_outlet = outlet is not None
        view = self._roster.view
        if view is None or view.own is None or outlet is None:
            return
        basis = _Basis(outlet, view.own, view.cluster_range or self._cluster_range)
        if self._routes is None or basis != self._basis:
            self._routes = self._start_anew(basis)
        if (mac, udp_ports) != self._around:
            self._look_around(mac, udp_ports, basis)
        self._follow(outlet, self._routes)

    def missing(self) -> Changes | None:
        """What is to be written; None where nothing is, or nothing can be."""
        view = self._roster.view
        if view is None or not self._has_outlet or not self.session.connected:
            return None
        changes = self._comparison.difference(self.session.table)
        if not changes.add and not changes.delete:
            self._new.clear()
            self._gone.clear()
        if not view.complete:  # nothing is removed from half a view
            changes = Changes(changes.add, [])
        return changes if changes.add or changes.delete else None

    async def write(self, changes: Changes) -> None:
        """Carry out `changes`. Raises `Unavailable` or `OvsRefused`."""
        await self.session.apply(changes)
        self._written += len(changes.add)
        self._deleted += len(changes.delete)
        cause = _cause(self._new, self._gone)
        log.info("rules: %d written, %d deleted: %s", len(changes.add), len(changes.delete), cause)
        self._new.clear()
        self._gone.clear()

    def waiting(self) -> tuple[str, ...]:
        """Why the rules are not in place (yet); nothing when they are."""
        if not self._has_outlet:
            return (f"the tunnel to all nodes on OVS bridge {self._bridge} is not there yet",)
        if not self.session.connected:
            return (f"OpenFlow at {self.session.path}: {self.session.problem}",)
        return ()

    def faults(self) -> tuple[str, ...]:
        """What is wrong without keeping the overlay from working."""
        if self._routes is None:
            return ()
        faults = self._routes.faults()
        if self.session.connected and (foreign := self.session.table.foreign):
            faults.append(
                f"OVS bridge {self._bridge} has rules that are not Linen's ({foreign}), which may"
                f" pass or drop packets that Linen's would not: `ovs-ofctl dump-flows"
                f" {self._bridge}` shows them"
            )
        if self._replicates and (number := len(self._routes.found)) > REPLICATE_LIMIT:
            faults.append(
                f"broadcasts are replicated to {REPLICATE_LIMIT} nodes at most, since Open vSwitch"
                f" gives up beyond, and there are {number}: they are dropped; let"
                " broadcast be drop, or make several networks"
            )
        return tuple(faults)

    def counts(self) -> Counts:
        """How many rules there are now: none that we know of while nobody tells."""
        wanted = len(self._comparison.wanted)
        if not self.session.connected:
            return Counts(wanted, 0, 0, self._written, self._deleted)
        seen = self.session.table
        installed = wanted - len(self._comparison.difference(seen).add)
        return Counts(wanted, installed, seen.foreign, self._written, self._deleted)

    def _start_anew(self, basis: _Basis) -> Routes:
        """Forget all rules but those that do not depend on the peers."""
        for name in self._routes.found if self._routes is not None else ():
            _move(name, self._new, self._gone)
        self._basis = basis
        self._news.update(self._roster.peers)
        self._comparison.drop(list(self._comparison.wanted))
        self._around, self._by_around = (b"", frozenset()), []
        common = [*flows.common_rules(basis.outlet), flows.broadcast_rule(basis.outlet, ())]
        self._comparison.want(map(wire.entry, common))
        return Routes(basis.own, basis.cluster_range)

    def _look_around(self, mac: bytes, udp_ports: frozenset[int], basis: _Basis) -> None:
        """Have the rules by which the host itself asks for pods, and those for others' ports."""
        self._comparison.drop(key for key, _ in self._by_around)
        own_gateways = gateways(basis.own.ranges, basis.cluster_range)
        rules = flows.guard_rules(udp_ports - {basis.outlet.dst_port})
        if mac:
            rules += flows.asker_rules(mac, own_gateways, basis.cluster_range)
        self._around, self._by_around = (mac, udp_ports), [wire.entry(rule) for rule in rules]
        self._comparison.want(self._by_around)

    def _follow(self, outlet: flows.Outlet, routes: Routes) -> None:
        """Have the rules of those peers that have come, gone or changed."""
        changes = routes.update(self._roster.peers, self._news)
        self._news.clear()
        for before, now in changes:  # all of these first: a range may go from one to another
            if before is not None:
                self._comparison.drop(entry.key for entry in _entries(outlet, before))
                if now is None:
                    _move(before.name, self._new, self._gone)
        for before, now in changes:
            if now is not None:
                self._comparison.want(_entries(outlet, now))
                if before is None:
                    _move(now.name, self._gone, self._new)
        if changes and self._replicates:
            names = sorted(routes.found) if len(routes.found) <= REPLICATE_LIMIT else ()
            to_all = flows.broadcast_rule(outlet, [routes.found[name] for name in names])
            self._comparison.want([wire.entry(to_all)])


def _entries(outlet: flows.Outlet, route: Route) -> Iterator[wire.Entry]:
    """What leads to one peer."""
    return map(wire.entry, flows.peer_rules(outlet, route))


def _move(name: str, source: set[str], target: set[str]) -> None:
    """Take a name out of one set or, if it is not there, into the other: the two cancel out."""
    if name in source:
        source.remove(name)
    else:
        target.add(name)


def _cause(joined: set[str], left: set[str]) -> str:
    parts = [
        f"{what} {', '.join(sorted(names)) if len(names) <= NAMED else f'{len(names)} nodes'}"
        for what, names in (("new", joined), ("gone", left))
        if names
    ]
    return "; ".join(parts) or "something was not as it should be"
