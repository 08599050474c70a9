# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch from the image linen-ovs: each daemon in a container, as process 1 of it."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host import DATAPATH, PATIENCE, wait_until
from support.images import end

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from support.host import Host
    from support.images import Image

# Mounts what deploy/ mounts, and becomes the command. /sys stays empty: no module is loaded here.
START = """
mount --bind "$1" "$2/run"
mount --rbind /dev "$2/dev"
mount -t proc proc "$2/proc"
exec chroot "$2" "$3"
"""


# Holds a lock as Open vSwitch's lockfile.c does, until its input ends.
LOCK = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""

DAEMONS = ("ovs-vswitchd", "ovsdb-server")
BRIDGE = ("set", "bridge", "br0", f"datapath_type={DATAPATH}")


class Switch:
    """The two daemons on a host; they end with it."""

    def __init__(self, host: Host, root: Path) -> None:
        self.host = host
        self.root = root
        self.run = host.folder / "run"
        (self.run / "openvswitch").mkdir(parents=True)
        self.containers: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, bytes] = {}
        self.database = self.run / "openvswitch" / "conf.db"

    def start(self, daemon: str) -> subprocess.Popen[bytes]:
        """Start a container with one of the two scripts."""
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        script = ("sh", "-ec", START, "sh", self.run, self.root, f"start-{daemon}")
        container = self.host.start(*namespaces, *script)
        self.containers.append(container)
        return container

    def start_both(self) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
        """Start both, as a kubelet does: in any order."""
        return self.start("ovs-vswitchd"), self.start("ovsdb-server")

    def wait_for(self, container: subprocess.Popen[bytes], text: str, seconds: float = 30) -> str:
        """Return as soon as a container has logged `text`: its log until then."""
        assert container.stderr is not None
        os.set_blocking(container.stderr.fileno(), False)

        def is_said() -> bool:
            said = container.stderr.read() if container.stderr else None
            self._logs[container.pid] = self._logs.get(container.pid, b"") + (said or b"")
            return text.encode() in self._logs[container.pid]

        wait_until(is_said, f"{text!r} in the container's log", seconds)
        return self._logs[container.pid].decode()

    def crash(self, container: subprocess.Popen[bytes], how: signal.Signals) -> None:
        """Signal the daemon in a container, and not the script that started it."""
        (daemon,) = (pid for pid, name in commands(container).items() if name in DAEMONS)
        os.kill(daemon, how)

    def vsctl(self, *argv: str) -> str:
        """What the image's ovs-vsctl prints, once the daemons are there."""
        socket = f"--db=unix:{self.run}/openvswitch/db.sock"
        tool = self.root / "usr/bin/ovs-vsctl"
        loader = next(self.root.glob("usr/lib/*-linux-gnu/ld-linux-*"))
        library = ("--library-path", loader.parent)
        done = self.host.run(loader, *library, tool, "--retry", "--timeout=20", socket, *argv)
        return done.stdout.strip()

    def add_bridge(self) -> None:
        """Make br0; ovs-vsctl returns when it is there."""
        self.vsctl("--", "--may-exist", "add-br", "br0", "--", *BRIDGE)


def commands(container: subprocess.Popen[bytes]) -> dict[int, str]:
    """What the script in a container, below nsenter and unshare, runs: process → its name."""
    started = [container.pid]
    for _ in ("unshare", "the script", "its commands"):
        lists = [read(pid, f"task/{pid}/children") for pid in started]
        started = [int(pid) for pid in " ".join(lists).split()]
    return {pid: name for pid in started if (name := read(pid, "comm").strip())}


def read(pid: int, name: str) -> str:
    """A file of a process in /proc; empty of one that has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture
def switch(host: Host, native: dict[str, Image]) -> Iterator[Switch]:
    """A host for the two containers."""
    switch = Switch(host, native["linen-ovs"].root)
    yield switch
    for container in switch.containers:
        end(container)


def test_bridges_work(switch: Switch) -> None:
    """Started with nothing there, the daemons make bridges, and say who and what they are."""
    switch.start_both()
    switch.add_bridge()
    assert "br0" in switch.host.links()
    about = switch.vsctl("get", "Open_vSwitch", ".", "external_ids", "ovs_version")
    assert "hostname=" in about
    assert "system-id=" in about
    assert '"3.' in about


def test_modules_that_are_missing_are_told(switch: Switch) -> None:
    """A kernel without Open vSwitch is named in the log, and is no obstacle."""
    switchd, _ = switch.start_both()
    switch.add_bridge()
    assert "no module openvswitch for this kernel" in end(switchd, signal.SIGTERM)


def test_flows_are_kept_until_bridges_are_there(switch: Switch) -> None:
    """ovs-vswitchd starts with flow-restore-wait, and is released from it afterwards."""
    switch.start_both()
    switch.add_bridge()
    wait_until(lambda: '"3.' in switch.vsctl("get", "Open_vSwitch", ".", "ovs_version"), "release")
    wait_until(lambda: switch.vsctl("get", "Open_vSwitch", ".", "other_config") == "{}", "release")
    assert '["flow-restore-wait","true"]' in switch.database.read_text()


def test_a_stop_is_clean(switch: Switch) -> None:
    """SIGTERM ends both with status 0; sockets and pid files go, the database stays."""
    switchd, server = switch.start_both()
    switch.add_bridge()
    wait_until(lambda: '"3.' in switch.vsctl("get", "Open_vSwitch", ".", "ovs_version"), "release")
    for container in (switchd, server):
        log = end(container, signal.SIGTERM)
        assert container.returncode == 0, log
    left = {path.name for path in switch.database.parent.iterdir()}
    assert left == {"conf.db", ".conf.db.~lock~"}


def test_a_crash_is_survived(switch: Switch) -> None:
    """After SIGKILL, whatever it leaves behind, both start again with the bridges of before."""
    for daemon, container in zip(DAEMONS, switch.start_both(), strict=True):
        switch.add_bridge()
        end(container, signal.SIGKILL)
        assert container.returncode
        switch.start(daemon)
    assert switch.vsctl("list-br") == "br0"
    switch.vsctl("set", "bridge", "br0", "other_config:again=yes")


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_that_crashed_runs_again(switch: Switch, daemon: str) -> None:
    """The container goes on, says what happened, and has its daemon and bridges back at once."""
    containers = dict(zip(DAEMONS, switch.start_both(), strict=True))
    switch.add_bridge()

    switch.crash(containers[daemon], signal.SIGKILL)
    switch.wait_for(containers[daemon], f"{daemon} ended with status 137: it is started again in 1")
    switch.vsctl("--", "add-br", "br1", "--", "set", "bridge", "br1", f"datapath_type={DATAPATH}")

    assert {"br0", "br1"} <= set(switch.host.links())
    wait_until(lambda: switch.vsctl("get", "Open_vSwitch", ".", "other_config") == "{}", "release")
    for container in containers.values():
        assert container.poll() is None


def test_a_stop_ends_the_wait_for_the_database(switch: Switch) -> None:
    """SIGTERM ends ovs-vswitchd's container at once, also before there is a daemon to end."""
    switchd = switch.start("ovs-vswitchd")
    wait_until(lambda: "ovs-vsctl" in commands(switchd).values(), "ovs-vsctl")

    end(switchd, signal.SIGTERM)  # waits for it half as long as ovs-vsctl does for the database
    assert switchd.returncode == 0


def test_a_stop_ends_the_pause_after_a_crash(switch: Switch) -> None:
    """SIGTERM ends a container at once whose daemon is to be started again.

    The process that pauses is stopped, so that its time does not come to an end meanwhile.
    """
    server = switch.start("ovsdb-server")
    for seconds in itertools.count(1):
        switch.vsctl("--no-wait", "init")
        switch.crash(server, signal.SIGABRT)
        switch.wait_for(server, f"ended with status 134: it is started again in {seconds} s")
        if pause := stop_the_pause(server):
            break

    os.kill(int(status(pause, "PPid")), signal.SIGTERM)
    wait_until(lambda: is_to_end(pause), "the pause to be ended")
    os.kill(pause, signal.SIGCONT)
    _, log = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0, log


def stop_the_pause(container: subprocess.Popen[bytes]) -> int:
    """Stop the process that pauses before a daemon is started again; 0 if it has just ended."""
    for pid, name in commands(container).items():
        if name == "sleep":
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: status(pid, "State") in {"", "T", "Z"}, "it to stop")  # noqa: B023
            return pid if status(pid, "State") == "T" else 0
    return 0


def is_to_end(pid: int) -> bool:
    """Whether SIGTERM waits for a process that is stopped."""
    return bool(int(status(pid, "ShdPnd"), 16) >> (signal.SIGTERM - 1) & 1)


def status(pid: int, field: str) -> str:
    """The first word of a field of proc_pid_status(5); empty of a process that has ended."""
    fields = dict(line.split(":", 1) for line in read(pid, "status").splitlines())
    return fields[field].split()[0] if fields else ""


def test_a_second_server_is_refused(switch: Switch) -> None:
    """A database that another ovsdb-server has is left alone until that one has ended."""
    first = switch.start("ovsdb-server")
    switch.vsctl("--no-wait", "init")
    before = switch.database.stat().st_ino
    second = switch.start("ovsdb-server")
    switch.wait_for(second, "ovsdb-server.pid: pidfile check failed")
    assert switch.vsctl("--no-wait", "list-br") == ""

    end(first, signal.SIGTERM)
    switch.vsctl("--no-wait", "init")

    assert switch.database.stat().st_ino == before
    assert second.poll() is None


@pytest.mark.parametrize("content", [b"", b"OVSDB JSON 9 00\n{", b"\0" * 4096])
def test_a_database_that_cannot_be_read(switch: Switch, content: bytes) -> None:
    """What is left of one when the disk was full is set aside, and a new one is made."""
    switch.database.write_bytes(content)
    switchd, server = switch.start_both()
    switch.add_bridge()

    assert switch.database.with_name("conf.db.unreadable").read_bytes() == content
    assert "cannot be read: it is /run/openvswitch/conf.db.unreadable" in end(server)
    end(switchd)


def test_a_database_that_was_half_made(switch: Switch) -> None:
    """What a killed container had begun to make is no obstacle, and nothing of it stays."""
    (switch.database.parent / "conf.db.new").write_text("OVSDB")
    server = switch.start("ovsdb-server")
    switch.vsctl("--no-wait", "init")
    end(server, signal.SIGTERM)
    left = {path.name for path in switch.database.parent.iterdir()}
    assert left == {"conf.db", ".conf.db.~lock~"}


def test_a_locked_database_is_no_ruin(switch: Switch) -> None:
    """One that another server has locked is not set aside, even if it seems unreadable."""
    switch.database.write_text("a database of a later format")
    lock = switch.database.with_name(".conf.db.~lock~")
    holder = switch.host.start(sys.executable, "-c", LOCK, lock)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"

    server = switch.start("ovsdb-server")
    switch.wait_for(server, "failed to lock lockfile")
    switch.wait_for(server, "it is started again in 2 s")

    assert switch.database.read_text() == "a database of a later format"
    holder.communicate()


def test_an_older_database_is_converted(switch: Switch) -> None:
    """What another version of Open vSwitch left is brought to this one's schema."""
    schema = switch.root / "usr/share/openvswitch/vswitch.ovsschema"
    older = switch.host.folder / "older.ovsschema"
    text = schema.read_text().replace('"datapath_types"', '"former_types"')
    older.write_text(text.replace('"version": "8.', '"version": "7.'))
    switch.host.run("ovsdb-tool", "create", switch.database, older)
    server = switch.start("ovsdb-server")
    assert switch.vsctl("--no-wait", "get", "Open_vSwitch", ".", "datapath_types") == "[]"
    assert "converting" in end(server, signal.SIGTERM)
