# SPDX-License-Identifier: Apache-2.0
"""The ping matrix: what counts as a loss, and how it is printed."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import pytest
from rich.console import Console

from linen.cli.lab_views import print_matrix, render_matrix
from linen.lab.ping import PingMatrix, _render_echo_request

MATRIX = PingMatrix(pods=("a", "b"), times={("a", "b"): 0.000417, ("b", "a"): None})


def printed(matrix: PingMatrix, width: int) -> str:
    """What a person sees on a terminal that is `width` columns wide."""
    console = Console(file=io.StringIO(), width=width)
    print_matrix(console, matrix)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_losses() -> None:
    """A pair without an answer is a loss, and a matrix with a loss is not complete."""
    assert MATRIX.losses == [("b", "a")]
    assert not MATRIX.complete
    assert PingMatrix(("a",), {}).complete


def test_json() -> None:
    """In JSON times are milliseconds, and a loss is null."""
    assert render_matrix(MATRIX) == {
        "complete": False,
        "milliseconds": {"a": {"b": 0.42}, "b": {"a": None}},
        "silent": [],
    }


def test_table() -> None:
    """The table has a row for each source, and the last line sums it up."""
    lines = [line.split() for line in printed(MATRIX, 80).splitlines()]

    assert lines == [
        ["ms", "from", "\\", "to", "a", "b"],
        ["a", "-", "0.42"],
        ["b", "lost", "-"],
        ["1", "of", "2", "pairs", "answer,", "in", "0.42", "to", "0.42", "ms"],
    ]


def test_narrow_terminal() -> None:
    """Where the table does not fit the losses are named instead of cutting columns off."""
    pods = tuple(f"pod{n}" for n in range(30))
    times: dict[tuple[str, str], float | None] = {
        (source, target): 0.001 for source in pods for target in pods if source != target
    }
    times["pod3", "pod4"] = None

    assert printed(PingMatrix(pods, times), 60).splitlines() == [
        "pod3 to pod4: lost",
        "869 of 870 pairs answer, in 1.00 to 1.00 ms",
    ]


@pytest.mark.parametrize("pods", [(), ("a",)])
def test_fewer_than_two_pods(pods: tuple[str, ...]) -> None:
    """Where there are no two pods, the last line says that there is nothing to ping."""
    *_, line = printed(PingMatrix(pods, {}), 80).splitlines()

    assert line == "There is nothing to ping: that takes two pods (linenctl lab add-pod)."


HALF = PingMatrix(("a", "b"), {("a", "b"): None, ("b", "a"): 0.001}, {("a", "b"): ("fd00::b",)})


def test_half_of_a_dual_stack_pod() -> None:
    """Where one of a pod's addresses answers and another does not, the pair is lost, and why."""
    assert render_matrix(HALF)["silent"] == [{"from": "a", "to": "b", "addresses": ["fd00::b"]}]
    assert "a to b: no answer from fd00::b\n" in printed(HALF, 80)
    assert not HALF.complete


def test_addresses_are_literal() -> None:
    """An address with `:a:` in it is shown as it is."""
    matrix = replace(HALF, silent={("a", "b"): ("fd00:10:244:a::a",)})

    assert "from fd00:10:244:a::a\n" in printed(matrix, 80)


def test_echo_request_checksum() -> None:
    """The checksum makes the 16-bit ones' complement sum of the packet zero (RFC 1071)."""
    for sequence in (0, 1, 0x7FFF, 0xFFFF):
        total = sum(struct.unpack("!4H", _render_echo_request(sequence)))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
