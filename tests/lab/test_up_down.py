# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping: a lab is whole or gone, whatever happens in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linen.lab import store
from linen.lab.cluster import Lab
from linen.lab.description import describe
from linen.lab.errors import DaemonFailed, LabError
from linen.lab.programs import Toolkit, _render_wrapper
from support.labs import (
    alive,
    host_state,
    keepers_of,
    linenctl,
    processes_of,
    start_linenctl,
    state_folder_exists,
)
from support.paths import LINENCTL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 20  # seconds
NODES = 6
# `lab up` reports the underlay and then each node.
REPORTS = NODES + 1


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that nothing tells us about."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE} s"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def as_from_a_terminal() -> Iterator[None]:
    """What tests start heeds SIGINT: it would inherit that a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start_up(lab: str) -> subprocess.Popen[str]:
    """Start `linenctl lab up`."""
    return start_linenctl("lab", "up", "--name", lab, "--nodes", str(NODES))


def read_reports(process: subprocess.Popen[str], count: int) -> None:
    """Wait until `lab up` has reported `count` steps."""
    assert process.stderr
    for _ in range(count):
        assert process.stderr.readline()


def finish(process: subprocess.Popen[str]) -> int:
    """Wait for a program's end; return its exit status."""
    process.communicate(timeout=DEADLINE)
    return process.returncode


def assert_nothing_is_left(lab: str) -> None:
    """No process and no file of the lab is there."""
    assert keepers_of(lab) == []
    assert not state_folder_exists(lab)


def test_down_leaves_nothing(lab_name: str) -> None:
    """After `down` no process, mount, namespace, link or file of the lab is left.

    What else runs on the machine may mount something meanwhile, so there are three attempts.
    """
    for _ in range(3):
        before, during, after = states_of_the_host(lab_name)
        if before == during == after:
            return
    assert before == during == after


def states_of_the_host(lab_name: str) -> tuple[dict[str, object], ...]:
    """What is on the host before a lab is there, while it is, and after `down`."""
    before = host_state()
    assert linenctl("lab", "up", "--name", lab_name, "--nodes", "2").returncode == 0
    assert linenctl("lab", "add-pod", "--name", lab_name).returncode == 0
    during = host_state()
    processes = processes_of(lab_name)

    done = linenctl("lab", "down", "--name", lab_name)

    assert done.returncode == 0, done
    assert len(processes) == 7  # the lab's keeper, and in each node keeper and two daemons
    assert alive(processes) == []
    assert_nothing_is_left(lab_name)
    return before, during, host_state()


def test_the_block_of_a_library_user(lab_name: str) -> None:
    """`Lab.started` stops the lab at the end of its block, with what was started in it."""
    with Lab.started(describe(1, name=lab_name)) as lab:
        program = lab.node("node1").popen(["sleep", "1000"])
        processes = processes_of(lab_name)
        assert program.pid in {process.pid for process in processes}

    assert program.returncode == -signal.SIGKILL
    assert alive(processes) == []
    assert_nothing_is_left(lab_name)


@pytest.mark.parametrize("reports", [0, 1, 2, REPORTS - 1, REPORTS])
@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)]
)
def test_up_interrupted(
    lab_name: str, reports: int, send: Callable[[int, int], None], number: signal.Signals
) -> None:
    """Ctrl-C during `up` leaves nothing: wherever it strikes, the lab is gone or complete.

    A terminal sends SIGINT to the whole process group, so to the commands in the nodes as well.
    """
    process = start_up(lab_name)
    read_reports(process, reports)

    send(process.pid, number)
    _, said = process.communicate(timeout=DEADLINE)

    if process.returncode == 0:  # too late, it was up: the last report may come before the signal
        assert reports >= REPORTS - 1
        assert reports + len(said.splitlines()) == REPORTS
        assert linenctl("lab", "down", "--name", lab_name).returncode == 0
    assert_nothing_is_left(lab_name)


def test_up_that_nobody_watches(lab_name: str) -> None:
    """Who reads only the first of the messages, as `head -1` does, has a lab all the same."""
    process = start_up(lab_name)
    read_reports(process, 1)
    assert process.stderr
    process.stderr.close()

    assert process.wait(timeout=DEADLINE) == 0
    assert linenctl("lab", "down", "--name", lab_name).returncode == 0
    assert_nothing_is_left(lab_name)


@pytest.mark.parametrize("reports", [1, 3])
def test_up_killed(lab_name: str, reports: int) -> None:
    """When `up` is killed the half-made lab ends by itself, and `up` works again."""
    process = start_up(lab_name)
    read_reports(process, reports)

    process.kill()
    finish(process)

    wait_until(lambda: not keepers_of(lab_name))
    assert linenctl("lab", "up", "--name", lab_name, "--nodes", "1").returncode == 0
    assert linenctl("lab", "down", "--name", lab_name).returncode == 0
    assert_nothing_is_left(lab_name)


def test_down_after_up_was_killed(lab_name: str) -> None:
    """`down` tidies up what a killed `up` has left."""
    process = start_up(lab_name)
    read_reports(process, 2)
    process.kill()
    finish(process)

    done = linenctl("lab", "down", "--name", lab_name)

    assert done.returncode == 0, done
    wait_until(lambda: not keepers_of(lab_name))
    assert_nothing_is_left(lab_name)


def test_down_interrupted(lab_name: str) -> None:
    """Ctrl-C during `down` does not keep the lab half alive: it is gone, or untouched."""
    assert linenctl("lab", "up", "--name", lab_name, "--nodes", "2").returncode == 0
    with subprocess.Popen([*LINENCTL, "lab", "down", "--name", lab_name]) as process:
        wait_until(lambda: not keepers_of(lab_name) or process.poll() is not None)
        process.send_signal(signal.SIGINT)

    assert_nothing_is_left(lab_name)


def puts_signals_off(process: subprocess.Popen[str]) -> bool:
    """Whether a program has got as far as to handle SIGTERM (proc_pid_status(5))."""
    (caught,) = re.findall(r"SigCgt:\t(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("words", ["down", "add-pod"])
def test_waiting_interrupted(lab_name: str, words: str) -> None:
    """Ctrl-C ends a command that only waits for another which is starting or stopping the lab."""
    with Lab.started(describe(1, name=lab_name)) as lab:
        with store.claimed(lab_name, None), start_linenctl("lab", words, "--name", lab_name) as one:
            wait_until(lambda: puts_signals_off(one))
            one.send_signal(signal.SIGINT)
            finish(one)

        assert one.returncode == 1  # as click ends after Ctrl-C
        assert lab.pods() == []


def test_up_twice(lab_name: str) -> None:
    """A second `up` of the same name is refused, and harms nothing."""
    with Lab.started(describe(1, name=lab_name)) as lab:
        again = linenctl("lab", "up", "--name", lab_name, "--nodes", "1")

        assert again.returncode == 1
        assert "is up already" in again.stderr
        assert lab.node("node1").run(["hostname"]).stdout == "node1\n"


def test_two_labs(lab_name: str) -> None:
    """Two labs with the same names and addresses run side by side, unaware of each other."""
    other_name = f"{lab_name}-other"
    with Lab.started(describe(2, name=lab_name)) as one:
        with Lab.started(describe(2, "mesh", name=other_name)) as other:
            for lab in (one, other):
                lab.add_pod("node1", "a")
                lab.add_pod("node2", "b")
            one.cut("node2")
            assert len(one.ping_matrix(deadline=1).losses) == 2
            assert other.ping_matrix().complete
            one.heal("node2")

        assert one.ping_matrix().complete
        assert [pod.name for pod in one.pods()] == ["a", "b"]


def test_use_after_down(lab_name: str) -> None:
    """Who still holds a lab that has been taken down is told so, and nothing comes back."""
    with Lab.started(describe(1, name=lab_name)) as lab:
        assert linenctl("lab", "down", "--name", lab_name).returncode == 0

        with pytest.raises(LabError, match="has been taken down"):
            lab.add_pod()
        with pytest.raises(LabError, match="node1 is not running"):
            lab.node("node1").run(["true"])
        with pytest.raises(LabError, match="node1 is not running"):
            lab.pods()
        assert_nothing_is_left(lab_name)


def test_twenty_nodes(lab_name: str, record_property: Callable[[str, object], None]) -> None:
    """Twenty nodes come up, and all their pods reach one another; the times are reported."""
    began = time.monotonic()
    with Lab.started(describe(20, "mesh", name=lab_name)) as lab:
        record_property("seconds until twenty nodes are up", round(time.monotonic() - began, 2))
        for node in lab.nodes:
            lab.add_pod(node)
        began = time.monotonic()
        matrix = lab.ping_matrix()
        record_property("seconds for 380 pairs of pings", round(time.monotonic() - began, 2))

    assert len(matrix.times) == 380
    assert matrix.losses == []


@pytest.fixture
def replace_vswitchd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the place of ovs-vswitchd, for the labs of this test."""

    def replace_it(script: str) -> None:
        daemon = tmp_path / "ovs-vswitchd"
        daemon.write_text(f"#!/bin/sh\n{script}\n")
        daemon.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return replace_it


def test_a_daemon_that_does_not_start(
    lab_name: str, replace_vswitchd: Callable[[str], None]
) -> None:
    """When a daemon fails, its log's tail is shown, all logs are kept, and nothing runs on."""
    replace_vswitchd('echo "out of bananas" > /var/log/openvswitch/ovs-vswitchd.log; exit 3')

    with (
        pytest.raises(DaemonFailed) as failure,
        Lab.started(describe(2, name=lab_name)),
    ):
        pytest.fail("the lab came up")

    assert "ovs-vswitchd did not start" in str(failure.value)
    assert "exit status 3" in str(failure.value)
    assert "out of bananas" in str(failure.value)
    assert keepers_of(lab_name) == []
    logs = store.folder_of(lab_name) / "log/node1"
    assert "out of bananas" in (logs / "ovs-vswitchd.log").read_text()
    assert "ovsdb-server (Open vSwitch)" in (logs / "ovsdb-server.log").read_text()
    assert linenctl("lab", "down", "--name", lab_name).returncode == 0
    assert_nothing_is_left(lab_name)


def test_logs_that_cannot_be_kept(lab_name: str, replace_vswitchd: Callable[[str], None]) -> None:
    """When logs cannot be kept, the reason for it comes after the daemon's, whose matter it is."""
    replace_vswitchd('[ "$(hostname)" = node2 ] || ln -s no-log /var/log/openvswitch; exit 3')

    with pytest.raises(DaemonFailed) as failure, Lab.started(describe(2, name=lab_name)):
        pytest.fail("the lab came up")

    assert "no-log" in failure.value.__notes__[0]
    logs = store.folder_of(lab_name) / "log"
    assert sorted(path.name for path in logs.iterdir()) == ["node1", "node2"]
    assert linenctl("lab", "down", "--name", lab_name).returncode == 0


def test_everything_missing_is_named(tmp_path: Path) -> None:
    """An error about missing plugins names all of them, and the package to install."""
    done = linenctl("lab", "up", "--cni-path", str(tmp_path))

    assert done.returncode == 1
    for word in ("bridge", "host-local", "portmap", "apt install containernetworking-plugins"):
        assert word in done.stderr


def test_plugin_from_source(lab_name: str) -> None:
    """Without a built file the plugin runs from its source, with the interpreter in use."""
    found = Toolkit.find()
    plugins = {name: path for name, path in found.plugins.items() if name != "linen"}
    toolkit = replace(found, plugins=plugins, wrapper=_render_wrapper())

    with Lab.started(describe(1, name=lab_name), toolkit=toolkit) as lab:
        lab.add_pod("node1", "a")
        lab.check_pod("a")

        bridges = lab.node("node1").run(["ovs-vsctl", "list-br"]).stdout.split()
        script = (lab.node("node1").root / "opt/cni/bin/linen").read_text()

    assert "br0" in bridges
    assert f"exec {sys.executable} -sP -m linen.plugin" in script


def test_the_version_that_all_plugins_speak() -> None:
    """Rendered conflists have the newest version that every installed plugin speaks."""
    assert Toolkit.find().cni_version in {"1.0.0", "1.1.0"}
