# SPDX-License-Identifier: Apache-2.0
"""Processes are only ever signalled when they are certainly the ones that were meant."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linen.lab.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be killed."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_kill(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that was identified is killed, and its end is waited for."""
    process = Process.of(sleeper.pid)

    process.kill(deadline=30)

    assert not process.is_alive()
    assert sleeper.wait() == -9


def test_a_reused_id_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that merely has the recorded id is not touched."""
    started_at = Process.of(sleeper.pid).start_time
    earlier = Process(sleeper.pid, started_at - 1)

    earlier.kill()

    assert not earlier.is_alive()
    assert Process.of(sleeper.pid).is_alive()


def test_an_id_that_a_thread_has_now() -> None:
    """An id that was reused for a thread of another process is nobody's process."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        earlier = Process(thread.native_id, 1)

        earlier.kill()

        assert not earlier.is_alive()
    finally:
        done.set()
        thread.join()


def test_killing_what_has_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """To kill a process that has ended already is no error."""
    process = Process.of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()

    process.kill()

    assert not process.is_alive()


def test_a_name_with_parentheses() -> None:
    """A command that is named to confuse does not confuse: the start time is still found."""
    ours = Process.of(os.getpid())

    script = "echo -n 'a) S 1 (b' > /proc/$$/comm; echo renamed; read"
    pipe = subprocess.PIPE
    with subprocess.Popen(["bash", "-c", script], stdin=pipe, stdout=pipe) as odd:
        assert odd.stdout
        assert odd.stdout.readline() == b"renamed\n"
        assert "(a) S 1 (b)" in Path(f"/proc/{odd.pid}/stat").read_text()
        assert Process.of(odd.pid).start_time >= ours.start_time
        odd.kill()
