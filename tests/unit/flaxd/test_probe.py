# SPDX-License-Identifier: Apache-2.0
"""The probe without packets: how often it asks, and what it makes of answers and losses."""

from __future__ import annotations

import asyncio
from typing import Never

import pytest

from linen.flaxd import icmp, probe


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ("x", "silent"),
        ("xxxxxxxxxxxxxxxxxxxxxxxxx", "silent"),
        ("x.", "ok"),
        ("....................", "ok"),
        ("...x...", "ok"),
        ("...x..x", "loss"),
        ("...xx", "loss"),
        ("...xxx", "unreachable"),
        ("...xxxxxxxxxxxxxxxxxxxxxxxxxx", "unreachable"),
        ("...xxx.", "loss"),
        ("...xxx...................", "ok"),
    ],
)
def test_verdict(answers: str, verdict: str) -> None:
    """One loss is nobody's fault, three in a row mean unreachable; old results are forgotten.

    An address that has never answered says nothing, however long it is silent.
    """
    window = probe._Window()
    for answer in answers:
        window.add(None if answer == "x" else 0.001)

    assert window.result("10.244.2.1").verdict == verdict


def test_change_is_told_once() -> None:
    """Only a result that makes another verdict counts as a change."""
    window = probe._Window()

    changes = [window.add(None if answer == "x" else 0.001) for answer in "x..xxxx.."]

    assert changes == [False, True, False, True, False, True, False, True, False]


def test_after_a_gap() -> None:
    """After a gap nothing is told before an answer or a third loss, which then is unreachable."""
    window = probe._Window()
    window.add(0.001)
    window.forget()

    told = [window.tells]
    for _ in range(3):
        window.add(None)
        told.append(window.tells)

    assert told == [False, False, False, True]
    assert window.result("10.244.2.1").verdict == "unreachable"

    window.forget()
    window.add(0.001)
    assert window.tells
    assert window.result("10.244.2.1").verdict == "ok"


def test_latencies() -> None:
    """A result has the latest, least, average and greatest latency of the last 20 probes."""
    window = probe._Window()
    for latency in [9.0] * 5 + [0.001, None] * 8 + [0.004, 0.002, None, 0.003]:
        window.add(latency)

    result = window.result("10.244.2.1")

    assert (result.sent, result.lost, result.loss) == (20, 9, 0.45)
    assert (result.last, result.minimum, result.maximum) == (0.003, 0.001, 0.004)
    assert result.average == pytest.approx(0.017 / 11)


def test_interval_0_is_off() -> None:
    """With interval 0 nothing is asked, not even whom to ask, and the state says why."""
    switched_off = probe.Probe(0, _nobody_asks, _nobody_asks, lambda _: None)

    asyncio.run(switched_off.run())

    assert switched_off.problem == "switched off: probe-interval is 0"
    assert switched_off.results(["node2"]) == {}


def _nobody_asks() -> Never:
    raise AssertionError


def test_checksum() -> None:
    """The checksum is that of RFC 1071's example, and makes a whole packet's checksum 0."""
    example = bytes.fromhex("0001f203f4f5f6f7")
    assert icmp.internet_checksum(example) == 0xFFFF - 0xDDF2
    assert icmp.internet_checksum(example + bytes.fromhex("220d")) == 0
    assert icmp.internet_checksum(b"\x01") == 0xFFFF - 0x0100


def test_thousands_of_peers_are_asked_less_often() -> None:
    """A round is as long as was asked for, until that would be more than 100 probes a second."""
    assert probe.round_length(10, 3) == 10
    assert probe.round_length(10, 1000) == 10
    assert probe.round_length(10, 5000) == 50
