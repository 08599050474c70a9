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

from support.cni import cni_environment
from support.frozen import CONF

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.host import Host

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
ROUNDS = 60

# A child's peak begins with its parent's size at fork: hence a parent smaller than the limit.
MEASURE_PEAK = """
import posix, sys
_, status = posix.waitpid(posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ), 0)
import resource
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(posix.waitstatus_to_exitcode(status))
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
    """VERSION takes less than half of the time of a Python that does nothing."""
    pairs = [(elapsed([binary]), elapsed([*PYTHON, "pass"])) for _ in range(ROUNDS)]
    ours, pythons = (median(times) for times in zip(*pairs, strict=True))
    assert ours < pythons / 2


def test_peak_memory(host: Host, binary: Path) -> None:
    """ADD on a fresh host, which makes all there is to make, takes at most 10 MB."""
    host.run("ip", "link", "add", "kbr0", "type", "bridge")
    host.add_namespace("pod")
    measured = (*PYTHON, MEASURE_PEAK, binary)
    done = host.run(*measured, stdin=json.dumps(CONF), env=cni_environment("ADD"))
    assert int(done.stderr) * 1024 <= 10_000_000
