# SPDX-License-Identifier: Apache-2.0
"""What peers achieve: how it is kept and told, and what is read from sockperf."""

from __future__ import annotations

import pytest
from bench import report
from bench.quantities import Quantity, as_json
from bench.results import Outcome
from bench.throughput_traffic import parse_round_trips

SOCKPERF = """\
sockperf: [Total Run] RunTime=1.002 sec; Warm up time=400 msec; ReceivedMessages=811
sockperf: [Valid Duration] RunTime=0.500 sec; SentMessages=400; ReceivedMessages=400
sockperf: \x1b[2;35mTotal 400 observations\x1b[0m; each percentile contains 4.00 observations
sockperf: ---> <MAX> observation = 9654.938
sockperf: ---> percentile 99.900 = 2457.988
sockperf: ---> percentile 99.000 = 1123.250
sockperf: ---> percentile 50.000 =   14.500
"""


def quantity() -> Quantity:
    found = Quantity("speed", "Mbit/s")
    for ours, theirs in (1.0, 1000.0), (3.0, 3000.0), (2.0, 2000.0):
        found.add("ours", ours)
        found.add("theirs", theirs)
    return found


def test_table_has_a_row_for_each_peer() -> None:
    """Each peer's median and quartiles stand in a row of its own, with three digits."""
    table = report.by_peers(Outcome([], quantities=[quantity()]))
    assert [line.split("|")[1:3] for line in table.splitlines()[2:]] == [
        [" ours    ", " 2.00 (1.50 - 2.50)    "],
        [" theirs  ", " 2,000 (1,500 - 2,500) "],
    ]


def test_one_sample_is_told_as_it_is() -> None:
    """What was measured once has no quartiles, and costs the others no table."""
    found = quantity()
    found.add("seldom", 4.0)
    table = report.by_peers(Outcome([], quantities=[found]))
    assert len(table.splitlines()) == 2 + len(found.samples)
    assert "| seldom  | 4.00                  |" in table.splitlines()


def test_every_sample_is_kept() -> None:
    """The JSON has the samples of each peer in the order of the rounds."""
    assert as_json([quantity()]) == {
        "speed, Mbit/s": {"ours": [1.0, 3.0, 2.0], "theirs": [1000.0, 3000.0, 2000.0]}
    }


def test_round_trips_are_read() -> None:
    """What counts is the part of the run that sockperf calls valid, and its percentiles."""
    found = parse_round_trips(SOCKPERF)
    assert list(found) == pytest.approx([800, 14.5e-6, 1123.25e-6])


def test_no_round_trips_are_an_error() -> None:
    """Where sockperf has measured nothing, what it said is quoted."""
    with pytest.raises(ValueError, match="not enough samples"):
        parse_round_trips("sockperf: not enough samples")
