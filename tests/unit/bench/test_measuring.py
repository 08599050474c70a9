# SPDX-License-Identifier: Apache-2.0
"""Programs that are timed and weighed: what the benchmarks' numbers rest on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from bench.memory import peak_memory
from bench.process import Invocation, ProgramFailed, Running

if TYPE_CHECKING:
    from pathlib import Path

MEGABYTE = 1_000_000


def python(code: str, stdin: bytes = b"") -> Invocation:
    return Invocation([sys.executable, "-I", "-S", "-c", code], {}, stdin)


def test_program_gets_its_input_and_gives_its_output() -> None:
    """A program reads all of its input; its answer and its errors are kept apart."""
    code = "import sys; print(len(sys.stdin.read())); print('so', file=sys.stderr); sys.exit(3)"
    done = Running(python(code, b"x" * 200_000)).wait()
    assert (done.status, done.stdout, done.stderr) == (3, b"200000\n", b"so\n")


def test_time_holds_waiting_and_computing() -> None:
    """Waiting counts as time, and not as computing."""
    sample = Running(python("import time; time.sleep(0.2)")).wait().sample
    assert sample.wall > 0.2
    assert sample.user + sample.system < sample.wall - 0.1


WAIT_FOR_THREE = """
import os, time
os.mkdir(f"{folder}/{{os.getpid()}}")
while len(os.listdir("{folder}")) < 3:
    time.sleep(0.01)
"""


def test_programs_run_side_by_side(tmp_path: Path) -> None:
    """What was started together overlaps."""
    code = WAIT_FOR_THREE.format(folder=tmp_path)
    running = [Running(python(code)) for _ in range(3)]
    done = [program.wait() for program in running]
    assert max(program.begun for program in done) < min(program.ended for program in done)


def test_failure_is_quoted() -> None:
    """A program that failed is named, with what it said."""
    done = Running(python("import sys; sys.exit('no such luck')")).wait()
    with pytest.raises(ProgramFailed, match="status 1: no such luck"):
        done.refuse_failure()


def test_peak_memory_is_the_programs_own() -> None:
    """Peak memory is without that of whoever starts the program, and with what it has freed."""
    ballast = bytearray(200 * MEGABYTE)
    small = peak_memory(python("pass"))
    large = peak_memory(python(f"del [bytearray(b'x' * {50 * MEGABYTE})][0]"))
    assert len(ballast) > 10 * small
    assert 50 * MEGABYTE < large < 150 * MEGABYTE


def test_peak_memory_of_a_failed_program_is_none() -> None:
    """A number of a program that failed would mean nothing."""
    with pytest.raises(ProgramFailed, match="status 7"):
        peak_memory(python("import sys; sys.exit(7 + len(sys.stdin.read()))"))
