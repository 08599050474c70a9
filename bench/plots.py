# SPDX-License-Identifier: Apache-2.0
"""A picture of each benchmark: boxes of all samples, or a line over the number of tunnels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.results import Outcome, Series

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
    fastest_first = sorted(series, key=lambda one: one.median, reverse=True)
    axes.boxplot(
        [[wall * 1000 for wall in one.walls] for one in fastest_first],
        tick_labels=[one.label for one in fastest_first],
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
