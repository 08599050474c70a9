# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios and verdicts: what the benchmarks make of their samples."""

from __future__ import annotations

import math

import pytest
from bench.process import Sample
from bench.results import (
    Goal,
    Measured,
    Series,
    cpu_ratio,
    exactly,
    mean,
    median,
    median_of_ratios,
    quantile,
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


def test_quantile_is_one_of_the_samples() -> None:
    """A quantile is the smallest of the samples that so large a share of them does not exceed."""
    assert quantile(range(1, 101), 0.99).value == 99
    assert quantile([7], 0.99).value == 7


def test_interval_of_a_median() -> None:
    """A median's interval lies between two samples, by the number of those that are smaller.

    For ten samples these are the second and the last but one: with less than 95 % confidence, the
    third and the last but two (a table of the sign test).
    """
    assert median(range(1, 11)) == Measured(5.5, 2, 9)


@pytest.mark.parametrize(("share", "enough"), [(0.5, 6), (0.99, 368)])
def test_few_samples_leave_an_end_open(share: float, enough: int) -> None:
    """How large a quantile is at most is not told by less samples than can tell it."""
    assert quantile(range(1, enough), share).high == math.inf
    assert quantile(range(1, enough + 1), share).high == enough


def test_interval_of_a_mean() -> None:
    """A mean's interval is Student's, which is wide for three samples, and open for one."""
    found = mean([1, 2, 3])
    assert (found.value, found.low, found.high) == pytest.approx((2, -0.484, 4.484), abs=0.001)
    assert mean([5]) == Measured(5, -math.inf, math.inf)


def test_an_open_interval_reaches_no_goal() -> None:
    """Three fast starts out of three do not show that most starts are fast."""
    assert Goal("any", median([1, 1, 1]), 2).verdict == "unclear"


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
