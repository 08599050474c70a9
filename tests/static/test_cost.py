# SPDX-License-Identifier: Apache-2.0
"""What a run of the static binary costs: time and memory, against the distribution's Python.

Times are taken in turns within one test and compared as a ratio, so that neither a slow machine
nor a busy one decides.
"""

from __future__ import annotations

import json
import subprocess
import time
from statistics import median
from typing import TYPE_CHECKING

from support.frozen import CONF, cni_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PYTHON = ["/usr/bin/python3", "-I", "-S", "-c"]
ROUNDS = 60

# A child's peak counts from its parent's size at fork: hence a parent smaller than the limit.
MEASURE_PEAK = """
import posix, sys
posix.waitpid(posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ), 0)
import resource
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def elapsed(argv: Sequence[str | Path]) -> float:
    """Seconds of wall time from start to end of a process."""
    start = time.perf_counter()
    subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=cni_environment("VERSION"),
        check=True,
    )
    return time.perf_counter() - start


def test_start_time(binary: Path) -> None:
    """VERSION takes no longer than a Python that does nothing."""
    pairs = [(elapsed([binary]), elapsed([*PYTHON, "pass"])) for _ in range(ROUNDS)]
    ours, pythons = (median(times) for times in zip(*pairs, strict=True))
    assert ours <= pythons


def test_peak_memory(binary: Path) -> None:
    """ADD needs at most 10 MB at its peak."""
    done = subprocess.run(
        [*PYTHON, MEASURE_PEAK, binary],
        input=json.dumps(CONF).encode(),
        env=cni_environment("STATUS"),
        capture_output=True,
        check=True,
    )
    *_, kilobytes = done.stdout.splitlines()
    assert int(kilobytes) * 1024 <= 10_000_000
