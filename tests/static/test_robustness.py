# SPDX-License-Identifier: Apache-2.0
"""The launcher's care: whatever a caller leaves out or puts in, the binary does its work."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.cni import cni_environment
from support.frozen import CONF, call, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NESTED = b"[" * 1_000_000
VERSION = b'{"cniVersion": "1.0.0"}'
MUCH_TO_PARSE = b'{"cniVersion": "1.0.0", "x": [%s0]}' % (b"0," * 5_000_000)


def run_by_shell(script: str, binary: Path) -> list[str | Path]:
    """The command line that runs the binary as `"$0"` of a shell script."""
    return ["/bin/sh", "-c", script, binary]


@pytest.mark.parametrize("limits", ["true", "ulimit -Ss 128", "ulimit -s 128"])
def test_deep_nesting(binary: Path, limits: str) -> None:
    """Nested JSON is an error even where the stack is small and can't be enlarged."""
    done = call(run_by_shell(f'{limits}; exec "$0"', binary), "ADD", NESTED)
    assert error_of(done)["code"] == 6


@contextmanager
def ended(*argv: str | Path, stdin: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """VERSION by this command line, when it has ended and the kernel still knows what it was."""
    with tempfile.TemporaryFile() as file:
        file.write(stdin)
        file.seek(0)
        with subprocess.Popen(
            argv, stdin=file, stdout=subprocess.PIPE, env=cni_environment("VERSION")
        ) as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            yield process


def test_priority(binary: Path) -> None:
    """It goes before all that is not real-time: a pod waits for it while its node is busy."""
    with ended(binary, stdin=VERSION) as process:
        assert os.sched_getscheduler(process.pid) == os.SCHED_RR
        assert os.sched_getparam(process.pid).sched_priority == 1
        out, _ = process.communicate()
    assert json.loads(out)["supportedVersions"]


def test_computing_for_long(binary: Path) -> None:
    """What computes for a tenth of a second does so at the priority of Open vSwitch's daemons."""
    with ended(binary, stdin=MUCH_TO_PARSE) as process:
        assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == -10
        out, _ = process.communicate()
    assert json.loads(out)["supportedVersions"]


def test_priority_of_the_caller(binary: Path) -> None:
    """A caller that has chosen how its programs are scheduled is obeyed."""
    with ended("chrt", "--batch", "0", binary, stdin=VERSION) as process:
        assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0)


def test_no_right_to_a_priority(binary: Path) -> None:
    """Without CAP_SYS_NICE the binary does its work all the same."""
    without = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
    done = call([*without, binary], "VERSION", VERSION)
    assert json.loads(done.stdout)["supportedVersions"]


def test_standard_input_closed(binary: Path) -> None:
    """A closed standard input is reported as unreadable."""
    done = call(run_by_shell('exec "$0" <&-', binary), "ADD")
    assert error_of(done)["code"] == 5


def test_standard_output_closed(binary: Path, tmp_path: Path) -> None:
    """No socket takes the place of a closed standard output, where the answer would go into it."""
    pidfile = tmp_path / "ovs-vswitchd.pid"
    with pidfile.open("w") as held, socket.socket(socket.AF_UNIX) as server:
        fcntl.lockf(held, fcntl.LOCK_EX)  # as ovs-vswitchd does
        server.bind(str(tmp_path / "db.sock"))
        server.listen()
        server.settimeout(10)
        conf = {**CONF, "ovs": {"datapathType": "netdev", "ovsdb": f"unix:{tmp_path}/db.sock"}}
        (tmp_path / "conf").write_text(json.dumps(conf))
        with subprocess.Popen(
            run_by_shell(f'exec "$0" <{tmp_path}/conf >&- 2>&-', binary),
            env=cni_environment("STATUS"),
        ) as process:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1)  # all sockets are open now, and it waits for an answer
                targets = [Path(f"/proc/{process.pid}/fd/{fd}").readlink() for fd in (1, 2)]
            assert process.wait(timeout=10) == 1
    assert not [target for target in targets if "socket" in str(target)]


def test_reader_gone(binary: Path) -> None:
    """A runtime that no longer reads the result doesn't kill the plugin, which ends with 1."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [binary],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=write,
            env=cni_environment("VERSION"),
        )
    finally:
        os.close(write)
    assert done.returncode == 1


def test_arguments(binary: Path) -> None:
    """Arguments are ignored, however many."""
    assert call([binary, *["x" * 100_000] * 15], "VERSION").returncode == 0


def test_python_variables(binary: Path, tmp_path: Path) -> None:
    """Variables that steer a Python interpreter don't steer this one."""
    (tmp_path / "linen").mkdir()
    (tmp_path / "linen" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    variables = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": str(tmp_path),
        "PYTHONVERBOSE": "1",
        "PYTHONMALLOC": "debug",
        "PYTHONHASHSEED": "nonsense",
        "LC_ALL": "xx_XX",
    }
    plain, steered = call([binary], "VERSION"), call([binary], "VERSION", variables=variables)
    assert (steered.stdout, steered.stderr) == (plain.stdout, b"")
