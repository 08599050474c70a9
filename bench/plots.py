# SPDX-License-Identifier: Apache-2.0
"""A picture of each benchmark: boxes of all samples, or a line over the number of tunnels.

And one of all costs by the number of nodes, or of all quantities, with a field for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, ScalarFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.costs import Cost
    from bench.quantities import Quantity
    from bench.results import Outcome, Series

COLUMNS = 4  # of fields in a picture
LONGEST_WHISKER = (5, 95)  # percentiles; what lies beyond is a machine that was busy elsewhere


def draw(path: Path, title: str, outcome: Outcome) -> None:
    """Write the picture of an outcome that has series."""
    mpl.use("Agg")  # no display needed
    height = 2 + 0.35 * len({series.label for series in outcome.series})
    figure, axes = plt.subplots(figsize=(8, max(height, 3.5)), layout="constrained")
    if any(series.at is not None for series in outcome.series):
        _draw_lines(axes, outcome.series)
    else:
        _draw_boxes(axes, outcome.series)
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_boxes(axes: Axes, series: list[Series]) -> None:
    slowest_first = sorted(series, key=lambda one: one.median, reverse=True)
    axes.boxplot(
        [[wall * 1000 for wall in one.walls] for one in slowest_first],
        tick_labels=[one.label for one in slowest_first],
        orientation="horizontal",
        whis=LONGEST_WHISKER,  # codespell:ignore whis
        showfliers=False,
        widths=0.6,
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("ms, from start to end of the process")


def _draw_lines(axes: Axes, series: list[Series]) -> None:
    for label in dict.fromkeys(one.label for one in series):
        line = [one for one in series if one.label == label]
        sizes = [one.at or 0 for one in line]
        axes.plot(sizes, [one.median * 1000 for one in line], marker="o", label=label)
        low, high = zip(*(one.quartiles for one in line), strict=True)
        axes.fill_between(sizes, [ms * 1000 for ms in low], [ms * 1000 for ms in high], alpha=0.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted({one.at or 0 for one in series}))
    axes.xaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("tunnels in OVSDB")
    axes.set_ylabel("ms (median, quartiles)")
    axes.legend()


def draw_costs(path: Path, found: Mapping[str, Sequence[Cost]], pictured: Sequence[str]) -> None:
    """Write the picture of several clusters' costs, of those that are `pictured`.

    `found`: the costs of each cluster, by its title.
    """
    mpl.use("Agg")
    rows = -(-len(pictured) // COLUMNS)
    figure, fields = plt.subplots(
        rows, COLUMNS, figsize=(3.1 * COLUMNS, 2.7 * rows), layout="constrained", squeeze=False
    )
    sizes = sorted({n for costs in found.values() for cost in costs for n in cost.samples})
    drawn = dict(zip(pictured, fields.flat, strict=False))
    for number, (title, costs) in enumerate(found.items()):
        for cost in costs:
            if cost.label in drawn:
                _draw_cost(drawn[cost.label], cost, title, f"C{number}")
    for axes in fields.flat:
        _scale_by_nodes(axes, sizes)
    lines = {line.get_label(): line for axes in fields.flat for line in axes.get_lines()}
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=len(lines))
    figure.supxlabel("nodes")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _draw_cost(axes: Axes, cost: Cost, title: str, colour: str) -> None:
    sizes = sorted(cost.samples)
    middles = [cost.middle(nodes) for nodes in sizes]
    axes.plot(sizes, middles, marker="o", markersize=4, label=title, color=colour)
    axes.set_title(cost.label, fontsize="medium")
    axes.set_ylabel("% of a core" if cost.unit == "%" else cost.unit)


def _scale_by_nodes(axes: Axes, sizes: Sequence[int]) -> None:
    """Both logarithmic: what grows with the nodes rises by one decade for each of theirs."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    axes.margins(y=0.15)
    axes.xaxis.set_major_locator(LogLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)


def draw_quantities(path: Path, title: str, quantities: Sequence[Quantity]) -> None:
    """Write the picture of what peers achieve: a field for each quantity, a box for each peer."""
    mpl.use("Agg")
    peers = sorted({peer for one in quantities for peer in one.samples}, reverse=True)
    rows = -(-len(quantities) // 2)
    figure, fields = plt.subplots(
        rows, 2, figsize=(9, 2.6 * rows), layout="constrained", squeeze=False
    )
    for number, (axes, quantity) in enumerate(zip(fields.flat, quantities, strict=False)):
        axes.boxplot(
            [quantity.samples.get(peer, []) for peer in peers],
            tick_labels=[""] * len(peers) if number % 2 else peers,
            orientation="horizontal",
            showfliers=False,
            widths=0.6,
        )
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(f"{quantity.label}, {quantity.unit}", fontsize="medium")
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
    plt.close(figure)
