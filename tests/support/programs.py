# SPDX-License-Identifier: Apache-2.0
"""Programs of Kubernetes that serve the tests, and end with them however the tests end."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support.host import wait_until
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class Programs:
    """Running programs, each with its log in `folder`.

    `inside`: the beginning of a command line that leads to where they are to run.
    """

    def __init__(self, folder: Path, inside: Sequence[str] = ()) -> None:
        self.folder = folder
        self._inside = inside
        # The kernel ends what `start` starts when the *thread* that started it ends (prctl(2)).
        self._starter = ThreadPoolExecutor(max_workers=1)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, program: str, flags: Mapping[str, Any]) -> None:
        """Start one of what scripts/setup built, with its log in PROGRAM.log."""
        path = KUBERNETES / program
        assert path.exists(), f"{path} is not there: run scripts/setup kubernetes"
        words = [f"--{name}={value}" for name, value in flags.items()]
        # Should the tests be killed, nothing of theirs is to live on.
        guard = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--"]
        command = [*self._inside, *guard, str(path), *words]
        with (self.folder / f"{program}.log").open("ab") as log:

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
                )

            self._running[program] = self._starter.submit(start).result()

    def wait_for(self, program: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Return when `condition` holds; fail at once if the program ends before."""

        def holds() -> bool:
            log = self.folder / f"{program}.log"
            ended = self._running[program].poll() is not None
            assert not ended, f"{program} ended: {log.read_text()[-2000:]}"
            return condition()

        wait_until(holds, f"{program}, whose log is in {self.folder}", seconds)

    def runs(self, program: str) -> bool:
        """Whether the program was started, and not stopped since."""
        return program in self._running

    def stop(self, program: str) -> None:
        """End a program as a crash would."""
        process = self._running.pop(program)
        process.kill()
        process.wait(timeout=10)

    def close(self) -> None:
        """End all programs, the last one first."""
        for program in reversed(list(self._running)):
            self.stop(program)
        self._starter.shutdown()
