# SPDX-License-Identifier: Apache-2.0
"""The other nodes of a large cluster, and what happens there at a steady pace."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from bench.fleet import ListedFleet, TooSlow, paced

if TYPE_CHECKING:
    from pathlib import Path


def names(path: Path) -> list[str]:
    return [node["name"] for node in json.loads(path.read_text())["nodes"]]


def test_fleet_grows_to_a_size(tmp_path: Path) -> None:
    """The size counts the node that is measured, and nodes that are there stay."""
    fleet = ListedFleet(tmp_path / "nodes.json")
    fleet.grow(2)
    fleet.grow(4)
    assert names(fleet.path) == ["node1", "node2", "node3", "node4"]


def test_nodes_are_replaced_by_new_ones(tmp_path: Path) -> None:
    """The oldest leaves, one that never was there joins, and both can be known at once."""
    fleet = ListedFleet(tmp_path / "nodes.json")
    fleet.grow(3)
    fleet.replace(0)
    assert names(fleet.path) == ["node1", "node3"]
    fleet.replace(1)
    assert names(fleet.path) == ["node1", "node3", "node4"]


def test_work_is_done_at_a_pace() -> None:
    """So many turns a second are done while the block lasts, and each has its number."""
    turns: list[int] = []
    enough = threading.Event()

    def work(turn: int) -> None:
        turns.append(turn)
        if turn == 9:
            enough.set()

    began = time.perf_counter()
    with paced(100, work) as done:
        assert enough.wait(10)
    assert time.perf_counter() - began >= 9.5 / 100
    assert turns == list(range(done.turns))


def test_work_that_fails_is_told() -> None:
    """What is measured while nothing is done would mean nothing."""
    begun = threading.Event()

    def work(_: int) -> None:
        begun.set()
        raise ValueError("no such node")

    with pytest.raises(ValueError, match="no such node"), paced(100, work):
        assert begun.wait(10)


def test_a_pace_that_was_not_kept_is_told() -> None:
    """What is measured while less is done than was meant would look cheaper than it is."""
    begun, may_end = threading.Event(), threading.Event()

    def work(_: int) -> None:
        begun.set()
        assert may_end.wait(10)

    def measure() -> None:
        with paced(1_000_000, work):
            assert begun.wait(10)
            may_end.set()

    with pytest.raises(TooSlow, match="were due"):
        measure()
