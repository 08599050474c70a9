# SPDX-License-Identifier: Apache-2.0
"""Topology flow with ten thousand nodes, which are entries of the daemon's file."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import counted_flaxd
from support.daemons import running_flaxd
from support.host import wait_until

if TYPE_CHECKING:
    from support.host import Host

NODES = 10_000
MEMORY = 120_000  # kB, of one daemon
PATIENCE = 60.0  # seconds, on a machine that has much else to do
JOINS = 3
TOLERANCE = 1.1  # what runs every few seconds anyway may come in between


def node(number: int) -> dict[str, Any]:
    """A node with a /24 of the pod network."""
    high, low = divmod(number, 256)
    return {
        "name": f"node{number}",
        "vtep": f"10.245.{high}.{low}",
        "ranges": [f"100.{high}.{low}.0/24"],
    }


def write(path: Path, nodes: list[dict[str, Any]]) -> None:
    """Replace the daemon's file of nodes."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"clusterRange": "100.0.0.0/8", "nodes": nodes}))
    temporary.rename(path)


def resident(pid: int) -> int:
    """The memory that a process has had at most, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def number_of_rules(host: Host) -> int:
    """How many rules br0 has, as Open vSwitch counts them."""
    aggregate = ("ovs-ofctl", "-OOpenFlow14", "dump-aggregate", "br0")
    return int(host.run(*aggregate).stdout.partition("flow_count=")[2].split()[0])


def test_ten_thousand_nodes(node1: Host, settings: dict[str, Any]) -> None:
    """All rules are there, in little memory, and one node more is three rules more."""
    nodes = [node(number) for number in range(1, NODES + 1)]
    write(settings["peers"], nodes)
    chosen = settings | {"topology": "flow", "vni": 7, "probe_interval": 0}

    with running_flaxd(node1, **chosen) as flaxd:
        flaxd.wait_for("the overlay works", PATIENCE)
        before = number_of_rules(node1)
        assert before == 4 + 3 * (NODES - 1)

        write(settings["peers"], [*nodes, node(NODES + 1)])
        flaxd.wait_for(f"rules: 3 written, 0 deleted: new node{NODES + 1}", PATIENCE)
        write(settings["peers"], nodes)
        flaxd.wait_for(f"rules: 0 written, 3 deleted: gone node{NODES + 1}", PATIENCE)

        wait_until(lambda: number_of_rules(node1) == before, "the rules")
        assert resident(flaxd.process.pid) < MEMORY


def instructions_of_a_join(host: Host, settings: dict[str, Any], size: int) -> int:
    """How much Python has to do for one node more than so many: the least of some joins."""
    write(settings["peers"], [node(number) for number in range(1, size + 1)])
    program = (sys.executable, counted_flaxd.__file__)
    joining = range(size + 1, size + 1 + JOINS)
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb") as stdin,
        os.fdopen(write_end, "w", buffering=1) as lines,
        running_flaxd(host, program=program, stdin=stdin, **settings) as flaxd,
    ):
        flaxd.wait_for(f"the overlay works: {size - 1} other nodes", PATIENCE)
        for number in joining:
            lines.write(json.dumps(node(number)) + "\n")
            flaxd.wait_for(f"rules: 3 written, 0 deleted: new node{number}", PATIENCE)
            lines.write("count\n")
            flaxd.wait_for(f"instructions for node{number}")
    found = re.findall(r"counted (\d+) instructions for node(\d+)", flaxd.log)
    return min(int(count) for count, number in found if int(number) in joining)


def test_one_node_more_costs_the_same(node1: Host, settings: dict[str, Any]) -> None:
    """A node that joins ten thousand is as much work for the daemon as one that joins a hundred."""
    chosen = settings | {"topology": "flow", "vni": 7, "probe_interval": 0}

    few = instructions_of_a_join(node1, chosen, 100)
    many = instructions_of_a_join(node1, chosen, NODES)

    assert max(few, many) < min(few, many) * TOLERANCE, f"{few} and {many} instructions"
