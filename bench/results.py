# SPDX-License-Identifier: Apache-2.0
"""What a benchmark finds: samples in series, and how they stand to a goal.

Ratios of times are those of medians. Their interval is a bootstrap's: rounds are drawn again, with
replacement, for both peers alike, so that what disturbed a whole round disturbs both.
A bootstrap never leaves the samples, so it serves no quantile, and nothing of few samples: those
have the interval that follows from counting or from Student's t, which is open or wide then.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.costs import Cost
    from bench.process import Sample
    from bench.quantities import Quantity

T = TypeVar("T")

RESAMPLES = 2000
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2

# Student's t, beyond which lies TAIL, by degrees of freedom from 1 on; the last serves all others.
STUDENT = (
    12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip

_DICE = random.Random(2017)  # noqa: S311  (order and resampling, no secrets)


def shuffled(items: Iterable[T]) -> list[T]:
    """The items in random order: who comes first in a round must not always be the same."""
    chosen = list(items)
    _DICE.shuffle(chosen)
    return chosen


@dataclass
class Series:
    """One program doing one thing, once a round. `at`: the number of tunnels, where it varies."""

    label: str
    at: int | None = None
    samples: list[Sample] = field(default_factory=list)

    @property
    def walls(self) -> list[float]:
        """Seconds from start to end."""
        return [sample.wall for sample in self.samples]

    @property
    def cpu(self) -> list[float]:
        """Seconds of computing, in user space and in the kernel."""
        return [sample.user + sample.system for sample in self.samples]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.walls)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper one, in seconds."""
        low, _, high = statistics.quantiles(self.walls, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class Measured:
    """A number, and the interval in which it lies with 95 % confidence.

    An end is infinite where there are too few samples to tell.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Goal:
    """What was to be reached: at most `limit`, in `unit`, or with `at_least` no less than that."""

    text: str
    measured: Measured
    limit: float
    unit: str = "x"
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Reached or not, or that the noise forbids an answer."""
        ends = self.measured.low, self.measured.high
        if all(map(self._is_met_by, ends)):
            return "reached"
        return "unclear" if any(map(self._is_met_by, ends)) else "missed"

    def _is_met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass
class Outcome:
    """All that one benchmark found.

    `facts`: what is no time. `samples`: for the JSON alone. `costs`: by the number of nodes.
    `quantities`: by peer.
    """

    series: list[Series]
    goals: list[Goal] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    costs: Sequence[Cost] = ()
    quantities: Sequence[Quantity] = ()


def exactly(value: float) -> Measured:
    """A number without spread."""
    return Measured(value, value, value)


def quantile(samples: Sequence[float], share: float) -> Measured:
    """The value that `share` of the samples do not exceed (nearest rank, so it is one of them).

    For an upper end, the median needs six samples, and the 99th percentile 368.
    """
    return _between_ranks(samples, share, sorted(samples)[math.ceil(share * len(samples)) - 1])


def median(samples: Sequence[float]) -> Measured:
    """The middle one of some samples."""
    return _between_ranks(samples, 0.5, statistics.median(samples))


def mean(samples: Sequence[float]) -> Measured:
    """The mean of samples that are worth the same."""
    middle, freedom = statistics.fmean(samples), len(samples) - 1
    if not freedom:
        return Measured(middle, -math.inf, math.inf)
    error = statistics.stdev(samples) / math.sqrt(len(samples))
    reach = error * STUDENT[min(freedom, len(STUDENT)) - 1]
    return Measured(middle, middle - reach, middle + reach)


def ratio(ours: Series, peers: Series) -> Measured:
    """How many times as long ours takes, of series that were measured in the same rounds."""
    return _bootstrap(ours.walls, peers.walls, statistics.median)


def median_of_ratios(ours: Sequence[float], peers: Sequence[float]) -> Measured:
    """How many times as large ours are in the middle one of the rounds.

    Where rounds differ by more than peers do within one.
    """
    return median([own / peer for own, peer in zip(ours, peers, strict=True)])


def cpu_ratio(ours: Series, peers: Series) -> Measured:
    """How many times as much ours computes, which depends less on what else the machine does.

    Of means, since the kernel counts this time in coarse ticks.
    """
    return _bootstrap(ours.cpu, peers.cpu, statistics.fmean)


def _between_ranks(samples: Sequence[float], share: float, value: float) -> Measured:
    """A quantile, and the two samples between which it lies.

    How many samples lie below it is a number of the binomial distribution, whatever theirs is
    (David and Nagaraja, Order Statistics, section 7.1).
    """
    ordered, number = sorted(samples), len(samples)
    at_most = 0.0  # the probability that `below` samples, or fewer, lie below the quantile
    low, high = -math.inf, math.inf
    for below in range(number):
        at_most += _binomial(number, below, share)
        if at_most <= TAIL:
            low = ordered[below]
        if at_most >= 1 - TAIL:
            high = ordered[below]
            break
    return Measured(value, low, high)


def _binomial(number: int, hits: int, share: float) -> float:
    """The probability of so many hits; by logarithms, for numbers whose coefficients are huge."""
    ways = math.lgamma(number + 1) - math.lgamma(hits + 1) - math.lgamma(number - hits + 1)
    return math.exp(ways + hits * math.log(share) + (number - hits) * math.log1p(-share))


def _bootstrap(
    ours: Sequence[float], peers: Sequence[float], middle: Callable[[Iterable[float]], float]
) -> Measured:
    pairs = list(zip(ours, peers, strict=True))

    def ratio_of(chosen: Sequence[tuple[float, float]]) -> float:
        return middle(pair[0] for pair in chosen) / middle(pair[1] for pair in chosen)

    drawn = sorted(ratio_of(_DICE.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    tail = round(TAIL * RESAMPLES)
    return Measured(ratio_of(pairs), drawn[tail], drawn[-1 - tail])
