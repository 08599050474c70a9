# SPDX-License-Identifier: Apache-2.0
"""What is left of a benchmark: JSON with every sample, and tables in Markdown for people."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench import costs, quantities
from bench.results import Goal, Measured, Series, quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.results import Outcome

NARROW = 0.05  # an interval of which two digits would not show much


def write_json(path: Path, name: str, circumstances: dict[str, Any], outcome: Outcome) -> None:
    """Write everything that was found, and under which circumstances."""
    document = {
        "benchmark": name,
        **circumstances,
        "goals": [
            asdict(goal) | {"measured": _as_json(goal.measured), "verdict": goal.verdict}
            for goal in outcome.goals
        ],
        "facts": outcome.facts,
        "samples": outcome.samples,
        "costs": costs.as_json(outcome.costs),
        "quantities": quantities.as_json(outcome.quantities),
        "series": [_series_as_json(series) for series in outcome.series],
    }
    text = json.dumps(document, indent=1, default=_as_json, allow_nan=False)
    path.write_text(text + "\n")


def _series_as_json(series: Series) -> dict[str, Any]:
    samples = series.samples
    return {
        "label": series.label,
        "tunnels": series.at,
        "wall_ms": [round(sample.wall * 1000, 3) for sample in samples],
        "user_ms": [round(sample.user * 1000, 3) for sample in samples],
        "system_ms": [round(sample.system * 1000, 3) for sample in samples],
        "page_faults": [sample.faults for sample in samples],
    }


def _as_json(value: object) -> object:
    """An open end of an interval is null: JSON has no infinity."""
    if isinstance(value, Measured):
        return {k: v if math.isfinite(v) else None for k, v in asdict(value).items()}
    raise TypeError(f"no JSON for {value!r}")


def times(outcome: Outcome) -> str:
    """A table of all series. CPU is a mean, since the kernel counts it in coarse ticks."""
    rows = [
        (
            _title(series),
            str(len(series.samples)),
            _milliseconds(series.median),
            " - ".join(map(_milliseconds, series.quartiles)),
            _milliseconds(quantile(series.walls, 0.99).value),
            _milliseconds(statistics.fmean(series.cpu)),
            f"{statistics.median(s.faults for s in series.samples):.0f}",
        )
        for series in outcome.series
    ]
    head = ("call", "n", "median ms", "quartiles ms", "p99 ms", "CPU ms", "page faults")
    return _table(head, rows) if rows else ""


def costs_by_nodes(outcome: Outcome) -> str:
    """A table of all costs, with a column for each number of nodes: medians, and mean shares."""
    sizes = sorted({nodes for cost in outcome.costs for nodes in cost.samples})
    rows = [(cost.label, *map(cost.text, sizes)) for cost in outcome.costs]
    head = ("cost", *(f"{nodes:,} nodes" for nodes in sizes))
    return _table(head, rows) if rows else ""


def by_peers(outcome: Outcome) -> str:
    """A table of all quantities, with a row for each peer: medians and quartiles."""
    peers = dict.fromkeys(peer for one in outcome.quantities for peer in one.samples)
    rows = [(peer, *(one.text(peer) for one in outcome.quantities)) for peer in sorted(peers)]
    head = ("network", *(f"{one.label}, {one.unit}" for one in outcome.quantities))
    return _table(head, rows) if rows else ""


def facts(outcome: Outcome) -> str:
    """A list of what else was found."""
    lines = []
    for label, value in outcome.facts.items():
        if isinstance(value, dict):
            lines += [f"- {label}, {key}: {item:,}" for key, item in value.items()]
        elif isinstance(value, Measured):
            lines.append(f"- {label}: {_measured(value)} x")
        else:
            lines.append(f"- {label}: {value if value != [] else 'none'}")
    return "\n".join(lines)


def goals(found: Iterable[Goal]) -> str:
    """The table of goals."""
    rows = [
        (
            goal.text,
            f"{_measured(goal.measured)} {goal.unit}".rstrip(),
            f"{'≥' if goal.at_least else '≤'} {goal.limit:g} {goal.unit}".rstrip(),
            goal.verdict,
        )
        for goal in found
    ]
    return _table(("goal", "measured (95 % interval)", "limit", "verdict"), rows)


def _title(series: Series) -> str:
    return series.label if series.at is None else f"{series.label}, {series.at} tunnels"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g}" if seconds < 1 else f"{seconds * 1000:.0f}"


def _measured(measured: Measured) -> str:
    if measured.low == measured.high:
        return f"{measured.value:.3g}"
    digits = 3 if measured.high - measured.low < NARROW else 2
    value, low, high = (
        f"{one:.{digits}f}" if math.isfinite(one) else "?"
        for one in (measured.value, measured.low, measured.high)
    )
    return f"{value} ({low} - {high})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are straight in a terminal, too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
