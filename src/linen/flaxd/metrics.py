# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told. docs/monitoring.md has the list with alerts.

What happens is counted as it happens. What is so now is read when somebody asks: there is no
gauge that could be forgotten, and the series of a peer that has left end with it.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import linen
from linen.core import plan
from linen.flaxd import health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from linen.flaxd.health import PeerHealth
    from linen.flaxd.rules import Counts

# Read by every Prometheus; the library would announce 1.0.0, which differs only for names with
# other characters than ours.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

UNCHANGED, CHANGED, WAITING, FAILED = "unchanged", "changed", "waiting", "failed"
OUTCOMES = (UNCHANGED, CHANGED, WAITING, FAILED)

KINDS: dict[type, str] = {
    plan.CreateBridge: "create_bridge",
    plan.SetBridge: "set_bridge",
    plan.SetVni: "set_vni",
    plan.SetMtu: "set_mtu",
    plan.SetMacTableSize: "set_mac_table_size",
    plan.AddTunnel: "add_tunnel",
    plan.ChangeTunnel: "change_tunnel",
    plan.RemoveTunnel: "remove_tunnel",
    plan.AddController: "add_controller",
    plan.RemoveController: "remove_controller",
}

# Seconds. A decision without a change takes 1 ms, a tunnel 20 ms, and 250 ms is the promise.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things are at this moment.

    `ready`: whether this node's overlay works.
    `reconnects`: of OVSDB, the first connection not counted.
    `source_synced`: whether the nodes come from their source and not from the last run's copy.
    `source_stale`: seconds since the source was last known to be up to date, 0 while it is.
    `rules`: None but in topology flow.
    """

    peers: Sequence[PeerHealth]
    ready: bool
    ovsdb_connected: bool
    ovsdb_reconnects: int
    source_synced: bool
    source_stale: float
    probes_sent: int
    probes_lost: int
    rules: Counts | None = None


class Metrics:
    """All metrics of the daemon; `observe` tells how things are now."""

    def __init__(self, observe: Callable[[], Snapshot]) -> None:
        # Of no use but a second series for each counter, with its time of birth.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._durations = Histogram(
            "flaxd_reconcile_duration_seconds",
            "Time to compare what is wanted with what there is, and to change it.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._reconciles = Counter(
            "flaxd_reconciles",
            "Comparisons of what is wanted with what there is, by their outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._changes = Counter(
            "flaxd_changes",
            "Changes to Open vSwitch, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self._node_to_tunnel = Histogram(
            "flaxd_node_to_tunnel_seconds",
            "Time from the news of a node until Open vSwitch has made the tunnel to it.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        for outcome in OUTCOMES:  # there from the start, so that the first one is an increase
            self._reconciles.labels(outcome)
        for kind in KINDS.values():
            self._changes.labels(kind)
        self.registry.register(_Now(observe))
        ProcessCollector(registry=self.registry)

    def reconciled(self, outcome: str, seconds: float) -> None:
        """Count a comparison that took so long; `outcome`: one of `OUTCOMES`."""
        self._reconciles.labels(outcome).inc()
        self._durations.observe(seconds)

    def changed(self, steps: Sequence[plan.Step]) -> None:
        """Count the steps of a plan that was carried out."""
        for step in steps:
            self._changes.labels(KINDS[type(step)]).inc()

    def tunnel_ready(self, seconds: float) -> None:
        """Count a tunnel that was ready so long after the news of its node."""
        self._node_to_tunnel.observe(seconds)

    def render(self) -> bytes:
        """All of them in Prometheus' text format, `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class Arrivals:
    """Measures the time from the news of a node until its tunnel is there.

    Tunnels that are there already when their node is heard of (at the daemon's start) don't count.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def update(
        self, before: Iterable[PeerHealth], after: Iterable[PeerHealth], heard: float, now: float
    ) -> list[float]:
        """The seconds that those tunnels took which are ready now and weren't before.

        `before`, `after`: some peers as they were at the last look, and as they are now. `heard`:
        when the news that made them wanted came.
        """
        known, wanted = {one.vtep for one in before}, {one.vtep for one in after}
        ready = {one.vtep for one in after if one.tunnel == health.PRESENT}
        self._since |= dict.fromkeys(wanted - known - ready, heard)
        for vtep in known - wanted:
            self._since.pop(vtep, None)
        return [now - self._since.pop(vtep) for vtep in ready & self._since.keys()]


class _Now(Collector):
    """What is so at the moment of the question."""

    def __init__(self, observe: Callable[[], Snapshot]) -> None:
        self._observe = observe

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering does not ask yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All gauges, and those counters that are kept elsewhere."""
        now = self._observe()
        yield _build_info()
        text = "Whether this node's overlay works, as /readyz says."
        yield _gauge("flaxd_ready", text, now.ready)
        yield _by_word("flaxd_peers", "Peers by state.", "state", health.STATES, now.peers)
        tunnels = (health.PRESENT, health.PENDING, health.REFUSED, health.MISSING)
        text = "Tunnels that are wanted, by whether Open vSwitch has made them."
        yield _by_word("flaxd_tunnels", text, "tunnel", tunnels, now.peers)
        yield _gauge("flaxd_tunnels_wanted", "Tunnels that there should be.", len(now.peers))
        yield _gauge("flaxd_ovsdb_connected", "Whether OVSDB answers.", now.ovsdb_connected)
        text = "Connections to OVSDB that were lost and made again."
        yield CounterMetricFamily("flaxd_ovsdb_reconnects", text, now.ovsdb_reconnects)
        text = "Whether the nodes come from their source, not from the last run's copy."
        yield _gauge("flaxd_source_synced", text, now.source_synced)
        text = "Time since the source of nodes was last known to be up to date."
        yield _gauge("flaxd_source_stale_seconds", text, now.source_stale)
        yield CounterMetricFamily("flaxd_probes_sent", "Probes sent.", now.probes_sent)
        text = "Probes that were not answered in time."
        yield CounterMetricFamily("flaxd_probes_lost", text, now.probes_lost)
        yield from _of_peers(now.peers)
        if now.rules is not None:
            yield from _of_rules(now.rules)


def _build_info() -> Metric:
    family = GaugeMetricFamily(
        "flaxd_build_info", "Versions; the value is 1.", labels=["version", "python_version"]
    )
    family.add_metric([linen.__version__, platform.python_version()], 1)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _by_word(
    name: str, text: str, label: str, words: Sequence[str], peers: Sequence[PeerHealth]
) -> Metric:
    """How many peers have each of these words in the field that is called like the label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    found = [getattr(peer, label) for peer in peers]
    for word in words:
        family.add_metric([word], found.count(word))
    return family


def _of_peers(peers: Sequence[PeerHealth]) -> Iterator[Metric]:
    labels = ["peer", "family"]
    text = "Average round trip over the overlay to the peer's gateway, of the last probes."
    latency = GaugeMetricFamily("flaxd_peer_latency_seconds", text, labels=labels)
    text = "Share of the last probes of the peer's gateway that were lost."
    loss = GaugeMetricFamily("flaxd_peer_loss_ratio", text, labels=labels)
    for peer in peers:
        for result in peer.results:
            values = [peer.peer, "ipv6" if ":" in result.address else "ipv4"]
            loss.add_metric(values, result.loss)
            if result.average is not None:
                latency.add_metric(values, result.average)
    return iter((latency, loss))


def _of_rules(now: Counts) -> Iterator[Metric]:
    """Of topology flow alone."""
    text = "OpenFlow rules on the OVS bridge: wanted, those of them in place, and of others."
    rules = GaugeMetricFamily("flaxd_rules", text, labels=["rules"])
    for word, number in (
        ("wanted", now.wanted),
        ("installed", now.installed),
        ("foreign", now.foreign),
    ):
        rules.add_metric([word], number)
    text = "OpenFlow rules written and deleted."
    changes = CounterMetricFamily("flaxd_rule_changes", text, labels=["kind"])
    changes.add_metric(["write"], now.written)
    changes.add_metric(["delete"], now.deleted)
    return iter((rules, changes))
