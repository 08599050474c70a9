# SPDX-License-Identifier: Apache-2.0
"""What peers achieve, each once a round: numbers that are no times of a program."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Quantity:
    """One kind of number. `samples`: those of each peer, one for each round, in `unit`."""

    label: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, peer: str, value: float) -> None:
        """Add what a peer has achieved."""
        self.samples.setdefault(peer, []).append(value)

    def text(self, peer: str) -> str:
        """Median and quartiles for people, with three digits; nothing where it was not measured."""
        samples = self.samples.get(peer, [])
        if len(samples) < 2:
            return "".join(map(three_digits, samples))
        low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
        return f"{three_digits(middle)} ({three_digits(low)} - {three_digits(high)})"


def as_json(quantities: Iterable[Quantity]) -> dict[str, dict[str, list[float]]]:
    """All samples."""
    return {
        f"{one.label}, {one.unit}": {
            peer: [float(f"{value:.4g}") for value in values]
            for peer, values in one.samples.items()
        }
        for one in quantities
    }


def three_digits(value: float) -> str:
    """A number for people, with three digits or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")
