# SPDX-License-Identifier: Apache-2.0
"""Pings from one pod to another while something happens, and how long they went unanswered."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from support.cluster.traffic import network
from support.host import environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster.pods import Pods

_ANSWER = re.compile(r"^\[([0-9.]+)\] \d+ bytes from ", re.MULTILINE)


class Pings:
    """Pings that go on, ten a second. All times are those of `time.time`, in seconds."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def answers(self) -> list[float]:
        """When each answer came."""
        return [float(found) for found in _ANSWER.findall(self._log.read_text())]

    @property
    def longest_pause(self) -> float:
        """The longest time from one answer to the next."""
        return max(later - earlier for earlier, later in pairwise(self.answers))

    def wait_for_answer(self, seconds: float) -> None:
        """Return when one is answered that comes from now on."""
        now = time.time()
        wait_until(lambda: self.answers[-1:] > [now], "an answer to a ping", seconds)


@contextmanager
def running_pings(pods: Pods, source: str, target: str) -> Iterator[Pings]:
    """Pings from one pod to another for the length of the block."""
    path = pods.cluster.folder / f"ping-{source}-{target}.log"
    command = ["ping", "-D", "-n", "-i0.1", pods.addresses[target]]
    with network(pods, source) as here, path.open("wb") as log:
        process = here.call(
            lambda: subprocess.Popen(command, stdout=log, stderr=log, env=environment({}))
        )
        with process:
            pings = Pings(path)
            try:
                pings.wait_for_answer(30)
                yield pings
            finally:
                process.send_signal(signal.SIGINT)
