# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios and verdicts: what the benchmarks make of their samples."""

from __future__ import annotations

import pytest
from bench.process import Sample
from bench.results import (
    Goal,
    Measured,
    Series,
    cpu_ratio,
    exactly,
    median_of_ratios,
    ratio,
)


def series(*walls: float) -> Series:
    return Series("any", samples=[Sample(wall, 0, 0, 0) for wall in walls])


def test_ratio_is_that_of_the_medians() -> None:
    """One outlier in either series leaves the ratio as it is."""
    assert ratio(series(1, 2, 90), series(4, 4, 80)).value == 2 / 4


def test_interval_holds_the_ratio() -> None:
    """The interval lies around the ratio, and has a width where the samples differ."""
    found = ratio(series(*range(10, 40)), series(*range(78, 18, -2)))
    assert found.low < found.value < found.high


def test_rounds_stay_together() -> None:
    """What made a whole round slow, for both alike, adds no doubt."""
    assert ratio(series(*range(10, 40)), series(*range(20, 80, 2))) == exactly(0.5)


def test_each_round_has_a_ratio() -> None:
    """Where rounds differ more than peers, it is the middle one of the rounds' ratios that counts.

    The ratio of medians would be that of two different rounds.
    """
    assert median_of_ratios([1, 20, 300], [2, 10, 400]).value == 300 / 400


def test_interval_of_equal_samples_is_a_point() -> None:
    """Where nothing varies there is no doubt."""
    assert ratio(series(1, 1, 1), series(2, 2, 2)) == exactly(0.5)


def test_cpu_ratio_is_that_of_the_means() -> None:
    """Computing in user space and in the kernel counts, waiting does not."""
    ours = Series("any", samples=[Sample(90, 1, 1, 0), Sample(90, 3, 1, 0)])
    peers = Series("any", samples=[Sample(9, 4, 2, 0), Sample(9, 4, 2, 0)])
    assert cpu_ratio(ours, peers).value == 3 / 6


def test_ratio_needs_the_same_rounds() -> None:
    """Series of different length were not measured in the same rounds."""
    with pytest.raises(ValueError, match="argument 2"):
        ratio(series(1), series(1, 2))


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (Measured(0.4, 0.3, 0.5), "reached"),
        (Measured(0.4, 0.3, 0.6), "unclear"),
        (Measured(0.7, 0.6, 0.8), "missed"),
    ],
)
def test_verdict_respects_the_interval(measured: Measured, verdict: str) -> None:
    """A goal is reached or missed only where the whole interval says so."""
    assert Goal("any", measured, 0.5).verdict == verdict


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (Measured(1.1, 1.0, 1.2), "reached"),
        (Measured(1.1, 0.9, 1.2), "unclear"),
        (Measured(0.9, 0.8, 0.99), "missed"),
    ],
)
def test_more_can_be_better(measured: Measured, verdict: str) -> None:
    """Of a goal that is to be exceeded it is the other way round."""
    assert Goal("any", measured, 1.0, at_least=True).verdict == verdict
