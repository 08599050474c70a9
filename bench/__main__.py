# SPDX-License-Identifier: Apache-2.0
"""Run benchmarks: results in build/bench, tables on standard output, progress on standard error."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import (
    concurrent,
    footprint,
    fresh,
    joins,
    lab,
    machine,
    plots,
    pods,
    report,
    rest,
    restarts,
    scale,
    startup,
    steady,
    throughput,
    tunnels,
)
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.results import Goal, Outcome

RESULTS = CHECKOUT / "build" / "bench"


class Benchmark(NamedTuple):
    """A benchmark; `rounds`: how many make it quick, and how many thorough.

    `real_time`: all that it starts has the priority that `linen` gives itself, so that none of its
    peers is at a disadvantage.
    """

    title: str
    measure: Callable[[int], Outcome]
    rounds: tuple[int, int]
    real_time: bool = False


_of_plugin = partial(Benchmark, real_time=True)
BENCHMARKS = {
    "startup": _of_plugin("Programs that have nothing to do", startup.measure, startup.ROUNDS),
    "steady": _of_plugin("ADD and DEL in steady state", steady.measure, steady.ROUNDS),
    "fresh": _of_plugin("The first ADD of a node", fresh.measure, fresh.ROUNDS),
    "concurrent": _of_plugin("First ADDs at once", concurrent.measure, concurrent.ROUNDS),
    "others": _of_plugin(
        "ADD beside others' tunnels", tunnels.measure_others, tunnels.ROUNDS_OTHERS
    ),
    "peers": _of_plugin(
        "ADD with many peers of its own", tunnels.measure_peers, tunnels.ROUNDS_PEERS
    ),
    "footprint": _of_plugin("Disk and memory", footprint.measure, footprint.ROUNDS),
    "flaxd-join": Benchmark("flaxd: nodes that join", joins.measure, joins.ROUNDS),
    "flaxd-rest": Benchmark("flaxd: what it costs at rest", rest.measure, rest.ROUNDS),
    "flaxd-restart": Benchmark("flaxd: restarts under traffic", restarts.measure, restarts.ROUNDS),
    "scale-flow": Benchmark("Scale: flow, API server", scale.measure_registered, scale.ROUNDS),
    "scale-file": Benchmark("Scale: flow, file of nodes", scale.measure_listed, scale.ROUNDS),
    "scale-mesh": Benchmark("Scale: mesh, file of nodes", scale.measure_mesh, scale.ROUNDS),
    "scale-lab": Benchmark("Scale: thirty nodes with traffic", lab.measure, lab.ROUNDS),
    "throughput": Benchmark("Traffic between pods", throughput.measure, throughput.ROUNDS),
    "kubernetes": Benchmark("Linen in a cluster of kubelets", pods.measure, pods.ROUNDS),
}


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: a wide interval")
    parser.add_argument(
        "--rounds", type=int, help="so many, 2 or more, instead of each one's own number"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    run(arguments.names or list(BENCHMARKS), arguments.rounds, quick=arguments.quick)


def run(names: Sequence[str], rounds: int | None, *, quick: bool) -> None:
    """Run benchmarks one after the other, and report. `rounds`: of each; None: as it has."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = machine.describe()
    print("\n".join(f"- {label}: {value}" for label, value in facts.items()), end="\n\n")
    goals: list[Goal] = []
    failed: list[str] = []
    for name in names:
        chosen = rounds or BENCHMARKS[name].rounds[0 if quick else 1]
        try:
            goals += run_one(name, chosen, facts)
        except Exception:  # noqa: BLE001  (what the others have found in an hour is not lost)
            traceback.print_exc()
            failed.append(name)
    if goals:
        print("## Goals", report.goals(goals), sep="\n\n")
    print(f"== every sample, and plots: {RESULTS.relative_to(CHECKOUT)}", file=sys.stderr)
    if failed:
        sys.exit(f"could not be measured: {', '.join(failed)}")


def run_one(name: str, rounds: int, facts: dict[str, Any]) -> list[Goal]:
    """Run one benchmark, write its files, print its tables; its goals."""
    title, measure, _, real_time = BENCHMARKS[name]
    print(f"== {name}: {title}, {rounds} rounds …", file=sys.stderr, flush=True)
    load, begin = machine.load(), time.monotonic()
    with _scheduled(real_time=real_time):
        outcome = measure(rounds)
    circumstances = {
        "title": title,
        "machine": facts,
        "real time": real_time,
        "rounds": rounds,
        "seconds": round(time.monotonic() - begin, 1),
        "load average before and after": [load, machine.load()],
    }
    report.write_json(RESULTS / f"{name}.json", name, circumstances, outcome)
    if outcome.series:
        plots.draw(RESULTS / f"{name}.png", title, outcome)
    if outcome.costs:
        scale.draw(RESULTS)
    if outcome.quantities:
        plots.draw_quantities(RESULTS / f"{name}.png", title, outcome.quantities)
    priority = "real time; " if real_time else ""
    conditions = f"{rounds} rounds; {priority}load average {load:.1f} before"
    print(f"## {title} (`{name}`)\n\n{conditions}\n")
    tables = (report.times, report.costs_by_nodes, report.by_peers, report.facts)
    for text in (table(outcome) for table in tables):
        if text:
            print(text, end="\n\n")
    sys.stdout.flush()
    return outcome.goals


@contextmanager
def _scheduled(*, real_time: bool) -> Iterator[None]:
    """Be scheduled as `linen` is (packaging/static/launcher.c) for a block, if so wanted.

    A caller's `chrt` is obeyed, as `linen` does.
    """
    before = os.sched_getscheduler(0)
    if not real_time or before != os.SCHED_OTHER:
        yield
        return
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


if __name__ == "__main__":
    main()
