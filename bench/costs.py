# SPDX-License-Identifier: Apache-2.0
"""What something costs by the number of a cluster's nodes, and how that is kept."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.quantities import three_digits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass
class Cost:
    """One kind of cost. `samples`: number of nodes to what was measured, in `unit`."""

    label: str
    unit: str
    samples: dict[int, list[float]] = field(default_factory=dict)

    def middle(self, nodes: int) -> float:
        """What it was with so many nodes: the median, of shares of time the mean."""
        samples = self.samples[nodes]
        return statistics.fmean(samples) if self.unit == "%" else statistics.median(samples)

    def text(self, nodes: int) -> str:
        """`middle` for people, with three digits; nothing where it was not measured."""
        if nodes not in self.samples:
            return ""
        return f"{three_digits(self.middle(nodes))} {self.unit}".rstrip()


class Costs:
    """All costs of one cluster, in the order in which they were first measured."""

    def __init__(self) -> None:
        self._found: dict[str, Cost] = {}

    def add(self, label: str, unit: str, nodes: int, *values: float) -> None:
        """Add what was measured with so many nodes; with no value, a place in the order alone."""
        cost = self._found.setdefault(label, Cost(label, unit))
        if values:
            cost.samples.setdefault(nodes, []).extend(values)

    def samples(self, label: str, nodes: int) -> list[float]:
        """What was measured; nothing if it was not."""
        found = self._found.get(label)
        return found.samples.get(nodes, []) if found is not None else []

    def all(self) -> list[Cost]:
        """All of them."""
        return list(self._found.values())


def as_json(costs: Iterable[Cost]) -> dict[str, dict[str, object]]:
    """All samples; three digits behind the point are more than anybody can measure here."""
    return {
        cost.label: {
            "unit": cost.unit,
            "nodes": {
                str(nodes): [round(value, 3) for value in values]
                for nodes, values in cost.samples.items()
            },
        }
        for cost in costs
    }


def read(path: Path) -> tuple[str, list[Cost]]:
    """The title and the costs of a benchmark, from the file that it left."""
    document = json.loads(path.read_text())
    costs = [
        Cost(label, kept["unit"], {int(nodes): values for nodes, values in kept["nodes"].items()})
        for label, kept in document["costs"].items()
    ]
    return document["title"], costs
