# SPDX-License-Identifier: Apache-2.0
"""How long plugins take on a cluster's nodes, whoever calls them: timed.c in their place."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench.node import program
from bench.process import Running, Sample
from bench.results import Series, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.cluster.node import Node

PLUGINS = ("bridge", "linen")
NOTHING = "empty-program"  # which only ends; what timed.c calls it in its log
_SOURCE = Path(__file__).with_name("timed.c")
_BIN = "/opt/cni/bin"
_REAL = f"{_BIN}/.timed"  # the real plugins, on each node, where flaxd's pod finds them, too
_LOG = f"{_REAL}/log"
_CALLS = 200  # to learn what it costs itself


def build(path: Path, real: str = _REAL, log: str = _LOG) -> Path:
    """Make the program that is to stand in; its path."""
    places = [f'-DREAL="{real}"', f'-DLOG="{log}"']
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", *places]
    subprocess.run([*command, str(_SOURCE), "-o", str(path)], check=True)
    return path


def install(node: Node, stand_in: Path) -> None:
    """From now on, time the plugins of a node. They are replaced by renaming: pods may start."""
    node.run("mkdir", "-p", _REAL)
    for name in PLUGINS:
        node.run("cp", f"{_BIN}/{name}", f"{_REAL}/{name}")
        node.run("cp", stand_in, f"{_BIN}/.{name}.timed")
        node.run("mv", f"{_BIN}/.{name}.timed", f"{_BIN}/{name}")


def take(nodes: Iterable[Node], command: str) -> dict[str, list[Sample]]:
    """The calls since the last time, by plugin, and those of `NOTHING` at the same moments."""
    found: dict[str, list[Sample]] = {name: [] for name in (*PLUGINS, NOTHING)}
    for node in nodes:
        lines = node.run("cat", _LOG).stdout.splitlines()
        node.run("rm", _LOG)
        for name, called, *numbers in map(str.split, lines):
            if called == command:
                wall, user, system, faults = map(int, numbers)
                found[name].append(Sample(wall / 1e9, user / 1e9, system / 1e9, faults))
    return found


def own_cost(folder: Path) -> list[Series]:
    """/bin/true, alone and as timed.c runs it: the difference is what timing adds to each call.

    What timed.c writes down of a plugin is without that.
    """
    stand_in = build(folder / "true", real="/bin", log=str(folder / "log"))
    calls = {
        "/bin/true": Path("/bin/true"),
        "/bin/true by way of timed.c": stand_in,
    }
    series = {label: Series(label) for label in calls}
    for _ in range(_CALLS):
        for label in shuffled(calls):
            done = Running(program(calls[label])).wait()
            done.refuse_failure()
            series[label].samples.append(done.sample)
    return list(series.values())
