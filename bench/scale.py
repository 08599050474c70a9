# SPDX-License-Identifier: Apache-2.0
"""What the daemon and Open vSwitch cost in clusters of up to fifty thousand nodes.

One node runs, with real ovsdb-server, ovs-vswitchd and flaxd; the others are Nodes of a real
API server, or entries of the daemon's file. Rules and tunnels count as there when Open vSwitch says
so, to a witness that flaxd does not know of.
Heartbeats and churn are those of a real cluster: each kubelet writes its Node every five minutes,
and each minute one node in a hundred leaves, and another joins.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import costs, plots
from bench.costs import Costs
from bench.fleet import ListedFleet, RegisteredFleet, name_of, paced
from bench.results import Goal, Outcome, exactly, mean, median
from bench.rules import RuleWitness
from bench.site import FLOW, MESH, PATIENCE, VNI, listed_site, registered_site, wait_for_answers
from support.control_plane import temporary_control_plane
from support.host import running_host
from support.kubernetes_nodes import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from bench.fleet import Fleet
    from bench.site import Site
    from support.host import Host

ROUNDS = (2, 6)  # starts and restarts: quick, thorough; half as many windows of each kind
REGISTERED = (100, 1000, 5000)
LISTED = (10, 100, 1000, 5000, 10_000, 50_000)
MESHED = (10, 100, 500)
WINDOW = 10.0  # seconds: between two looks of the daemon at what nobody tells it
HEARTBEATS = 300.0  # seconds between two of a kubelet (its nodeStatusReportFrequency)
PROBES = 10.0  # seconds between two of a peer, by default
MOST_PROBED = 1000  # nodes: those of more are asked less often, so that it is as much in all
CHURN = 6000.0  # seconds in which all nodes are replaced, 1 % of them in a minute
LONGEST = 5  # times as many windows as usual
MOST_IN_CHURN = 10_000  # nodes: a file of more cannot be written as often as they change
OFCTL = ("ovs-ofctl", "-OOpenFlow14")
BY_HAND = "by-hand"  # an OVS bridge to which ovs-ofctl writes

START, START_CPU = "start until complete", "CPU of flaxd until then"
BYTES = "API server sends at start"
JOIN, LEAVE = "one node joins", "one node leaves"
RESTART, SOCKET = "restart of ovs-vswitchd", "of which after its socket is back"
PEAK, SWITCH = "flaxd, at most resident", "ovs-vswitchd, resident"
HEARTBEAT_CPU, CHURN_CPU = "CPU of flaxd under heartbeats", "CPU of flaxd under churn"

# The costs that have a picture.
PICTURED = (START, JOIN, RESTART, BYTES, PEAK, SWITCH, CHURN_CPU, HEARTBEAT_CPU)


def measure_registered(rounds: int) -> Outcome:
    """Topology flow, with an API server."""
    sizes = _sizes(REGISTERED, rounds)
    with temporary_control_plane() as plane:
        plane.add_rights_of_flaxd()
        bench = _Bench(RegisteredFleet(plane), lambda: registered_site(plane, FLOW), rounds)
        found = bench.measure(sizes)
    return Outcome([], _goals_of_flow(found, max(sizes)), costs=found.all())


def measure_listed(rounds: int) -> Outcome:
    """Topology flow, with a file of nodes."""
    return Outcome([], costs=_measure_listed(FLOW, _sizes(LISTED, rounds), rounds).all())


def measure_mesh(rounds: int) -> Outcome:
    """Topology mesh, with a file of nodes."""
    found = _measure_listed(MESH, MESHED, rounds)
    largest = max(MESHED)
    start = median(found.samples(START, largest))
    goal = Goal(f"mesh, {largest} nodes: {START}", start, 1, "s")
    return Outcome([], [goal], costs=found.all())


def draw(folder: Path) -> None:
    """Write the picture of all that the last runs of these benchmarks have left in a folder."""
    found = [costs.read(path) for path in sorted(folder.glob("scale-*.json"))]
    clusters = {title.partition(": ")[2]: kept for title, kept in found if kept}
    plots.draw_costs(folder / "scale.png", clusters, PICTURED)


def _sizes(all_of_them: Sequence[int], rounds: int) -> Sequence[int]:
    """All sizes, or without the largest for those who are in a hurry."""
    return all_of_them if rounds >= ROUNDS[1] else all_of_them[:-1]


def _measure_listed(topology: str, sizes: Sequence[int], rounds: int) -> Costs:
    with tempfile.TemporaryDirectory(prefix="linen-bench-") as folder:
        fleet = ListedFleet(Path(folder) / "nodes.json")
        return _Bench(fleet, lambda: listed_site(fleet, topology), rounds).measure(sizes)


def _goals_of_flow(found: Costs, nodes: int) -> list[Goal]:
    """Those that were set for 5,000 nodes, or none where there were not so many."""
    if nodes < max(REGISTERED):
        return []
    flow = f"flow, {nodes:,} nodes"
    beats = f"{flow}: CPU under {nodes:,} heartbeats in 5 minutes"
    socket = f"{flow}: {RESTART}, complete after its socket is back"
    peak = exactly(round(max(found.samples(PEAK, nodes)), 1))
    return [
        Goal(
            f"{flow}: {START}, with the list of Nodes", median(found.samples(START, nodes)), 3, "s"
        ),
        Goal(f"{flow}: {PEAK}", peak, 120, "MB"),
        Goal(beats, mean(found.samples(HEARTBEAT_CPU, nodes)), 1, "%"),
        Goal(f"{flow}: {JOIN}", median(found.samples(JOIN, nodes)), 50, "ms"),
        Goal(socket, median(found.samples(SOCKET, nodes)), 300, "ms"),
    ]


class _Bench:
    """Measures one kind of site with more and more nodes; `site` makes a fresh one."""

    def __init__(
        self, fleet: Fleet, site: Callable[[], AbstractContextManager[Site]], rounds: int
    ) -> None:
        self.costs = Costs()
        self._fleet = fleet
        self._site = site
        self._rounds = rounds
        self._windows = rounds // 2
        self._nodes = 0

    def measure(self, sizes: Sequence[int]) -> Costs:
        """All costs, with each number of nodes."""
        for self._nodes in sizes:
            self._fleet.grow(self._nodes)
            self._measure_size()
        return self.costs

    def _measure_size(self) -> None:
        """Start some times, and stay with the last."""
        for number in range(1, self._rounds + 1):
            with self._site() as site:
                self._note_start(site)
                if number == self._rounds:
                    self._look_closer(site)

    def _look_closer(self, site: Site) -> None:
        """What can be measured on a site that is complete."""
        site.daemon.wait_for("the overlay works", PATIENCE)
        self._add(SWITCH, "MB", site.memory("ovs-vswitchd").resident / 1e6)
        self._add("ovsdb-server, resident", "MB", site.memory("ovsdb-server").resident / 1e6)
        time.sleep(WINDOW)  # what follows a start by a while is no rest
        self._add("CPU of flaxd at rest", "%", *site.shares(self._windows, WINDOW))
        if isinstance(self._fleet, RegisteredFleet):
            self._note_heartbeats(site, self._fleet)
        for _ in range(max(self._rounds, 3)):
            self._note_change(site, JOIN, self._fleet.join)
            self._note_change(site, LEAVE, self._fleet.leave)
        self._note_churn(site)
        self._add(PEAK, "MB", site.peak_memory / 1e6)
        if site.topology == FLOW:
            _add_bridge_by_hand(site.host)
        for _ in range(self._rounds):
            self._note_restart(site)
        if isinstance(self._fleet, RegisteredFleet) and self._nodes <= MOST_PROBED:
            site.restart_with_probes()
            wait_for_answers(site.daemon, len(self._fleet.members) + 1)
            time.sleep(PROBES)  # to note each peer's first answer is more work than later
            self._add("CPU of flaxd with probes", "%", *site.shares(self._windows, WINDOW))

    def _note_start(self, site: Site) -> None:
        complete = self._wait(site)
        cpu, received = site.cpu, site.received
        self._add(START, "s", complete - site.began)
        self._add(START_CPU, "s", cpu)
        if received:
            self._add(BYTES, "kB", received / 1e3)
        if site.topology == MESH:
            self._add("the same tunnels, by ovs-vsctl", "s", self._tunnels_by_hand())

    def _note_heartbeats(self, site: Site, fleet: RegisteredFleet) -> None:
        before = site.received
        with paced(self._nodes / HEARTBEATS, fleet.heartbeat) as sent:
            shares = site.shares(self._windows, WINDOW)
        self._add(HEARTBEAT_CPU, "%", *shares)
        each = [(site.received - before) / sent.turns / 1e3] if sent.turns else []
        self._add("API server sends for a heartbeat", "kB", *each)

    def _note_change(self, site: Site, what: str, change: Callable[[], float]) -> None:
        before = site.received
        began = change()
        self._add(what, "ms", (self._wait(site) - began) * 1e3)
        if site.received > before:
            self._add(f"API server sends when {what}", "kB", (site.received - before) / 1e3)

    def _note_churn(self, site: Site) -> None:
        """Long enough that one node leaves and another joins, where that is possible."""
        windows = max(self._windows, math.ceil(CHURN / self._nodes / WINDOW))
        shares = []
        if windows <= LONGEST * self._windows and self._nodes <= MOST_IN_CHURN:
            with paced(2 * self._nodes / CHURN, self._fleet.replace):
                shares = site.shares(windows, WINDOW)
        self._add(CHURN_CPU, "%", *shares)
        self._wait(site)

    def _note_restart(self, site: Site) -> None:
        began = site.restart_switch()
        if isinstance(site.witness, RuleWitness):
            back = site.witness.wait_for_socket(began, PATIENCE)
            complete = self._wait(site)
            self._add(RESTART, "s", complete - began)
            self._add(SOCKET, "ms", (complete - back) * 1e3)
            self._add("the same rules, by ovs-ofctl", "ms", _write_by_hand(site.host) * 1e3)
        else:
            self._add(RESTART, "s", time.perf_counter() - began)

    def _tunnels_by_hand(self) -> float:
        """Seconds in which ovs-vsctl makes the tunnels of a mesh on a fresh host."""
        words = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]
        for member in self._fleet.members:
            name, remote = f"vx{member}", address_of(name_of(member))
            words += ["--", "add-port", "br0", name, "--", "set", "port", name, "protected=true"]
            words += ["--", "set", "interface", name, "type=vxlan", "bfd:enable=true"]
            words += [f"options:remote_ip={remote}", f"options:key={VNI}"]
        with (
            tempfile.TemporaryDirectory(prefix="linen-bench-") as folder,
            running_host(Path(folder)) as host,
        ):
            began = time.perf_counter()
            host.run("ovs-vsctl", *words, timeout=PATIENCE)
            return time.perf_counter() - began

    def _wait(self, site: Site) -> float:
        """When all was there for the nodes that there are."""
        return site.witness.wait_for_peers(len(self._fleet.members), PATIENCE)

    def _add(self, label: str, unit: str, *values: float) -> None:
        self.costs.add(label, unit, self._nodes, *values)


def _add_bridge_by_hand(host: Host) -> None:
    """Make an OVS bridge beside flaxd's, and a file with the same rules."""
    settings = ("datapath_type=netdev", "fail_mode=secure")
    host.vsctl("add-br", BY_HAND, "--", "set", "bridge", BY_HAND, *settings)
    dumped = host.run(*OFCTL, "--no-stats", "--no-names", "dump-flows", "br0").stdout
    (host.folder / BY_HAND).write_text(dumped)


def _write_by_hand(host: Host) -> float:
    """Seconds in which ovs-ofctl writes these rules to that bridge, which has none."""
    began = time.perf_counter()
    host.run(*OFCTL, "--bundle", "replace-flows", BY_HAND, host.folder / BY_HAND)
    return time.perf_counter() - began
