# SPDX-License-Identifier: Apache-2.0
"""What the daemon shows of itself and its peers: health, metrics, and the pages over HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from linen.core.naming import MAKER_FLAXD
from linen.flaxd import health, http, metrics, pod_network, probe, state_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from linen.core import cluster
    from linen.flaxd.reconcile import Decision
    from linen.flaxd.rules import Rules
    from linen.flaxd.sources import Source
    from linen.light.json import Json
    from linen.ovsdb.session import Session
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.health")

STUCK = 30.0  # seconds that one decision may take to be carried out


class Watched(Protocol):
    """What there is to see of a daemon.

    `heard`: when the last news of the nodes came. `busy_since`: when the decision in work was made.
    (Times are of `time.monotonic`.) `rules`: None but in topology flow.
    """

    settings: Settings
    session: Session
    source: Source
    roster: cluster.Roster
    decision: Decision
    rules: Rules | None
    heard: float
    busy_since: float | None

    @property
    def waiting(self) -> tuple[str, ...]:
        """Why the overlay does not work; empty while it does."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong without keeping the overlay from working."""

    def cluster_range(self) -> tuple[str, ...]:
        """All pods' addresses, as CIDRs."""


class Telemetry:
    """Looks at a daemon, and changes nothing."""

    def __init__(self, daemon: Watched) -> None:
        settings = daemon.settings
        self._daemon = daemon
        self._news = daemon.roster.follow()
        self._peers: dict[str, health.PeerHealth] = {}
        # What that was worked out from.
        self._rows: Sequence[Json] = ()
        self._wanted: Mapping[str, cluster.Peer] = {}
        self._arrivals = metrics.Arrivals()
        self.metrics = metrics.Metrics(self._snapshot)
        self._probe = probe.Probe(settings.probe_interval, self._targets, self._sources, self.look)
        views = http.Views(self._stuck, self._not_ready, self.metrics.render, self._state)
        self._server = http.Server(settings.listen, views)

    async def run(self) -> None:
        """Serve and probe until cancelled. Raises `HostError` where the address is taken."""
        host, port = await self._server.start()
        log.info("serving http://%s", http.shown(host, port))
        try:
            await self._probe.run()
            await asyncio.Event().wait()  # without probes there is still something to serve
        finally:
            await self._server.close()

    def look(self, names: Iterable[str] = ()) -> None:
        """Look at these peers anew, and at those of which something else than a probe has news.

        Logs whose state has become another.
        """
        daemon = self._daemon
        question = health.question(daemon.settings.network, MAKER_FLAXD)
        (found,) = daemon.session.replica.answer([question])
        rows, wanted = found["rows"], daemon.decision.neighbours.peers
        if rows == self._rows and (wanted is self._wanted or wanted == self._wanted):
            looked_at = {*names, *self._news}
        else:
            looked_at = {*wanted, *self._peers}
        self._rows, self._wanted = rows, wanted
        self._news.clear()
        if looked_at:
            self._look_at(sorted(looked_at))

    def _look_at(self, names: Sequence[str]) -> None:
        before = [self._peers[name] for name in names if name in self._peers]
        after = self._assess(names)
        fallen = health.fallen(before, after)
        if fallen:  # what the probes said was before that
            for peer in fallen:
                self._probe.forget(peer)
            after = self._assess(names)
        for one in before:
            del self._peers[one.peer]
        self._peers.update((one.peer, one) for one in after)
        for one in health.transitions(before, after):
            log.info("node %s is %s: %s", one.peer, one.state, one.reason)
        arrived = self._arrivals.update(before, after, self._daemon.heard, time.monotonic())
        for seconds in arrived:
            self.metrics.tunnel_ready(seconds)

    def _assess(self, names: Sequence[str]) -> list[health.PeerHealth]:
        peers = [self._wanted[name] for name in names if name in self._wanted]
        return health.assess(peers, self._rows, self._probe.results(names))

    def _all(self) -> Sequence[health.PeerHealth]:
        """The health of all peers, with the probes' latest figures, by name."""
        self.look(self._daemon.decision.neighbours.peers)
        return [self._peers[name] for name in sorted(self._peers)]

    def _targets(self) -> Mapping[str, Sequence[str]]:
        """The gateways of the peers that there should be a tunnel to."""
        cluster_range = self._daemon.cluster_range()
        return {
            peer.name: pod_network.gateways(peer.ranges, cluster_range)
            for peer in self._daemon.decision.neighbours.peers.values()
        }

    def _sources(self) -> Sequence[str]:
        view = self._daemon.roster.view
        if view is None or view.own is None:
            return ()
        return pod_network.gateways(view.own.ranges, self._daemon.cluster_range())

    def _stuck(self) -> Sequence[str]:
        busy_since = self._daemon.busy_since
        busy = 0.0 if busy_since is None else time.monotonic() - busy_since
        return [f"one decision has been carried out for {busy:.0f} s"] if busy > STUCK else []

    def _not_ready(self) -> Sequence[str]:
        return self._daemon.waiting

    def _state(self) -> Json:
        daemon, peers = self._daemon, self._all()
        problems = {
            "nodes": daemon.source.problem,
            "OVSDB": "" if daemon.session.connected else daemon.session.problem,
            "probes": self._probe.problem,
        }
        notes = [f"{what}: {problem}" for what, problem in problems.items() if problem]
        rules = daemon.rules.counts() if daemon.rules is not None else None
        status = state_page.Status(daemon.waiting, daemon.faults, notes, rules)
        view = daemon.roster.view
        return state_page.document(daemon.settings, view, daemon.decision, peers, status)

    def _snapshot(self) -> metrics.Snapshot:
        daemon, peers = self._daemon, self._all()
        view, stale_since = daemon.roster.view, daemon.source.stale_since
        return metrics.Snapshot(
            peers=peers,
            ready=not self._not_ready(),
            ovsdb_connected=daemon.session.connected,
            ovsdb_reconnects=daemon.session.losses,
            source_synced=view is not None and view.complete,
            source_stale=0 if stale_since is None else time.monotonic() - stale_since,
            probes_sent=self._probe.sent,
            probes_lost=self._probe.lost,
            rules=daemon.rules.counts() if daemon.rules is not None else None,
        )
