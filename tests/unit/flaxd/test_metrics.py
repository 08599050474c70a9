# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads from the daemon, by Prometheus' own parser."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

import linen
from linen.core import model, plan
from linen.flaxd import metrics, probe
from linen.flaxd.health import PeerHealth
from linen.flaxd.rules import Counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.samples import Sample

RESULT = probe.Result(
    address="10.244.2.1",
    verdict="ok",
    sent=20,
    lost=1,
    last=0.003,
    minimum=0.001,
    average=0.002,
    maximum=0.004,
)
NODE2 = PeerHealth(
    peer="node2",
    vtep="10.245.0.2",
    port="vxif10_245_0_2",
    tunnel="present",
    bfd="up",
    probe="ok",
    state="up",
    reason="BFD is up and probes are answered",
    results=(RESULT,),
)
NODE3 = dataclasses.replace(NODE2, peer="node3", tunnel="refused", state="down", results=())
NOW = metrics.Snapshot(
    peers=[NODE2, NODE3],
    ready=True,
    ovsdb_connected=True,
    ovsdb_reconnects=2,
    source_synced=True,
    source_stale=0,
    probes_sent=40,
    probes_lost=1,
)


class Watched(metrics.Metrics):
    """Metrics of a daemon whose state a test sets."""

    def __init__(self) -> None:
        self.now = NOW
        super().__init__(lambda: self.now)

    def samples(self) -> Iterator[Sample]:
        """Every sample of every series."""
        for family in text_string_to_metric_families(self.render().decode()):
            yield from family.samples

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample with this name and just these labels."""
        found = [s.value for s in self.samples() if s.name == name and s.labels == labels]
        assert len(found) <= 1
        return found[0] if found else None


@pytest.fixture
def watched() -> Watched:
    """Metrics of a daemon with two peers."""
    return Watched()


def test_state_is_read_when_asked(watched: Watched) -> None:
    """Gauges show how things are at the moment of the question."""
    assert watched.value("flaxd_peers", state="up") == 1
    assert watched.value("flaxd_peers", state="down") == 1
    assert watched.value("flaxd_peers", state="degraded") == 0
    assert watched.value("flaxd_tunnels", tunnel="refused") == 1
    assert watched.value("flaxd_tunnels_wanted") == 2
    assert watched.value("flaxd_ready") == 1
    assert watched.value("flaxd_ovsdb_connected") == 1
    assert watched.value("flaxd_ovsdb_reconnects_total") == 2
    assert watched.value("flaxd_probes_sent_total") == 40
    assert watched.value("flaxd_probes_lost_total") == 1
    version = {"version": linen.__version__}
    (build,) = [s for s in watched.samples() if s.name == "flaxd_build_info"]
    assert version.items() <= build.labels.items()

    watched.now = dataclasses.replace(NOW, ready=False, ovsdb_connected=False, source_stale=7.5)

    assert watched.value("flaxd_ready") == 0
    assert watched.value("flaxd_ovsdb_connected") == 0
    assert watched.value("flaxd_source_stale_seconds") == 7.5


def test_series_end_with_their_peer(watched: Watched) -> None:
    """A peer that has left has no series any more."""
    labels = {"peer": "node2", "family": "ipv4"}
    assert watched.value("flaxd_peer_latency_seconds", **labels) == 0.002
    assert watched.value("flaxd_peer_loss_ratio", **labels) == 0.05

    watched.now = dataclasses.replace(NOW, peers=[NODE3])

    assert not [s for s in watched.samples() if s.labels.get("peer")]


def test_a_loss_of_all_has_no_latency(watched: Watched) -> None:
    """Where no probe was answered there is a loss and no latency, rather than one of 0."""
    lost = dataclasses.replace(RESULT, lost=20, last=None, average=None)
    watched.now = dataclasses.replace(NOW, peers=[dataclasses.replace(NODE2, results=(lost,))])

    labels = {"peer": "node2", "family": "ipv4"}
    assert watched.value("flaxd_peer_loss_ratio", **labels) == 1
    assert watched.value("flaxd_peer_latency_seconds", **labels) is None


def test_rules_of_topology_flow(watched: Watched) -> None:
    """Rules are counted where there are any; other topologies have no such series."""
    assert watched.value("flaxd_rules", rules="wanted") is None

    counts = Counts(wanted=30, installed=29, foreign=1, written=31, deleted=2)
    watched.now = dataclasses.replace(NOW, rules=counts)

    assert watched.value("flaxd_rules", rules="wanted") == 30
    assert watched.value("flaxd_rules", rules="installed") == 29
    assert watched.value("flaxd_rules", rules="foreign") == 1
    assert watched.value("flaxd_rule_changes_total", kind="write") == 31
    assert watched.value("flaxd_rule_changes_total", kind="delete") == 2


def test_events_are_counted(watched: Watched) -> None:
    """Reconciles, changes and new tunnels are counted, by counters that start at 0."""
    assert watched.value("flaxd_changes_total", kind="remove_tunnel") == 0
    tunnel = model.TunnelSpec("net", {"remote_ip": "10.245.0.2"}, protected=True)

    watched.reconciled(metrics.CHANGED, 0.003)
    watched.changed([plan.AddTunnel("vxif1", tunnel), plan.AddTunnel("vxif2", tunnel)])
    watched.tunnel_ready(0.06)

    assert watched.value("flaxd_reconciles_total", outcome="changed") == 1
    assert watched.value("flaxd_reconciles_total", outcome="failed") == 0
    assert watched.value("flaxd_changes_total", kind="add_tunnel") == 2
    assert watched.value("flaxd_reconcile_duration_seconds_bucket", le="0.0025") == 0
    assert watched.value("flaxd_reconcile_duration_seconds_bucket", le="0.005") == 1
    assert watched.value("flaxd_node_to_tunnel_seconds_bucket", le="0.1") == 1


def test_every_step_has_a_kind() -> None:
    """Every step that a plan can have is counted under a name of its own."""
    assert set(metrics.KINDS) == set(plan.Step.__subclasses__())
    assert len(set(metrics.KINDS.values())) == len(metrics.KINDS)


def test_names_are_by_convention(watched: Watched) -> None:
    """All names are flaxd_ or process_, with base units; every one has a help text."""
    for family in text_string_to_metric_families(watched.render().decode()):
        assert family.name.startswith(("flaxd_", "process_"))
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_ms", "_milliseconds", "_percent", "_created"))


def test_hostile_labels(watched: Watched) -> None:
    """A name with quotes and line breaks stays one label of one series."""
    name = 'a"} 1\nflaxd_forged 1'
    watched.now = dataclasses.replace(NOW, peers=[dataclasses.replace(NODE2, peer=name)])

    assert watched.value("flaxd_peer_loss_ratio", peer=name, family="ipv4") == 0.05
    assert watched.value("flaxd_forged") is None


# --- from a node to its tunnel ---


def tunnels(**states: str) -> list[PeerHealth]:
    """Peers whose tunnels are in these states."""
    return [dataclasses.replace(NODE2, vtep=vtep, tunnel=state) for vtep, state in states.items()]


def test_new_tunnels_are_timed() -> None:
    """A tunnel counts from the news of its node until it is ready, once."""
    arrivals = metrics.Arrivals()
    missing, present = tunnels(a="missing"), tunnels(a="present")
    assert arrivals.update([], missing, heard=1, now=1) == []

    assert arrivals.update(missing, present, heard=1, now=1.5) == [0.5]
    assert arrivals.update(present, present, heard=1, now=9) == []


def test_later_news_does_not_count() -> None:
    """News of other nodes does not make a tunnel that is being waited for look quicker."""
    arrivals = metrics.Arrivals()
    first = tunnels(a="missing")
    arrivals.update([], first, heard=1, now=1)

    second = tunnels(a="present", b="pending")
    assert arrivals.update(first, second, heard=5, now=6) == [5]
    assert arrivals.update(second, tunnels(a="present", b="present"), heard=5, now=7) == [2]


def test_what_was_there_before_does_not_count() -> None:
    """Tunnels from before a restart, repaired ones, and nodes that leave again count as nothing."""
    arrivals = metrics.Arrivals()
    first = tunnels(a="present", b="missing")
    assert arrivals.update([], first, heard=0, now=0) == []
    broken, mended = tunnels(a="missing"), tunnels(a="present")
    assert arrivals.update(first, broken, heard=2, now=2) == []
    assert arrivals.update(broken, mended, heard=2, now=3) == []

    both = tunnels(a="present", b="missing")
    assert arrivals.update(mended, both, heard=4, now=4) == []
    assert arrivals.update(both, tunnels(a="present", b="present"), heard=4, now=4.25) == [0.25]


def test_peers_that_nobody_looks_at_go_on_being_timed() -> None:
    """A look at some peers changes nothing for the others."""
    arrivals = metrics.Arrivals()
    slow = tunnels(a="missing")
    arrivals.update([], slow, heard=1, now=1)

    arrivals.update([], tunnels(b="missing"), heard=2, now=2)

    assert arrivals.update(slow, tunnels(a="present"), heard=2, now=4) == [3]
