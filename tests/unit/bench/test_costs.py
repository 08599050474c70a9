# SPDX-License-Identifier: Apache-2.0
"""Costs by the number of nodes: what is kept of them, and what people read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench import costs
from bench.costs import Cost, Costs

if TYPE_CHECKING:
    from pathlib import Path


def test_time_is_that_of_the_median() -> None:
    """One start that was slow changes nothing."""
    assert Cost("start", "s", {10: [1.0, 90.0, 3.0]}).middle(10) == 3


def test_share_of_a_core_is_the_mean() -> None:
    """Work that comes now and then counts, though most windows have none of it."""
    assert Cost("CPU", "%", {10: [0.0, 0.0, 6.0]}).middle(10) == 2


def test_what_people_read_has_three_digits() -> None:
    """A number is as exact as it can be, and stands with its unit; what was not measured is not."""
    cost = Cost("any", "ms", {10: [0.12345], 100: [12.345], 1000: [12345.6]})
    assert [cost.text(n) for n in (10, 100, 1000, 5000)] == ["0.123 ms", "12.3 ms", "12,346 ms", ""]


def test_costs_keep_the_order_of_their_first_mention() -> None:
    """What is mentioned without a value has its place in the order, and nothing else."""
    found = Costs()
    found.add("churn", "%", 10)
    found.add("start", "s", 10, 1.0)
    found.add("churn", "%", 100, 2.0, 4.0)
    assert [(cost.label, cost.samples) for cost in found.all()] == [
        ("churn", {100: [2.0, 4.0]}),
        ("start", {10: [1.0]}),
    ]


def test_costs_are_read_as_they_were_kept(tmp_path: Path) -> None:
    """A picture can be drawn from what an earlier run has left."""
    kept = [Cost("start", "s", {10: [0.5, 0.25], 100: [1.0]})]
    path = tmp_path / "scale.json"
    path.write_text(json.dumps({"title": "flow", "costs": costs.as_json(kept)}))
    assert costs.read(path) == ("flow", kept)
