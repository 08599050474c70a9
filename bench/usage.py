# SPDX-License-Identifier: Apache-2.0
"""What a running process uses, by the kernel's own accounts in /proc."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Memory(NamedTuple):
    """Bytes: all resident pages, and the process's share of them (what it shares counts less)."""

    resident: int
    proportional: int


def proc_of(pid: int) -> Path:
    """The /proc that a process sees, where others of its PID namespace have the ids it knows."""
    return Path(f"/proc/{pid}/root/proc")


def memory(pid: int, proc: Path = PROC) -> Memory:
    """A process's memory now."""
    text = (proc / str(pid) / "smaps_rollup").read_text()
    found = {
        key: int(value) for key, value in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)
    }
    return Memory(found["Rss"] * 1024, found["Pss"] * 1024)


def cpu(pid: int) -> float:
    """Seconds that all threads of a process have run, in user space and in the kernel.

    From the scheduler, which counts nanoseconds: `utime` and `stime` are counted in ticks of 10 ms,
    too coarse for a process that rests.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def shares_of_a_core(pids: list[int], windows: int, seconds: float) -> dict[int, list[float]]:
    """The percentage of a core that each process takes, in each of some windows of time."""
    shares: dict[int, list[float]] = {pid: [] for pid in pids}
    for _ in range(windows):
        begun, before = time.perf_counter(), {pid: cpu(pid) for pid in pids}
        time.sleep(seconds)
        passed = time.perf_counter() - begun
        for pid in pids:
            shares[pid].append((cpu(pid) - before[pid]) / passed * 100)
    return shares
