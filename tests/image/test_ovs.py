# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch from the image linen-ovs: each daemon in a container, as process 1 of it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.images import end

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host
    from support.images import Image

# Mounts what deploy/ mounts, and becomes the command. /sys stays empty: no module is loaded here.
START = """
mount --bind "$1" "$2/run"
mount --rbind /dev "$2/dev"
mount -t proc proc "$2/proc"
exec chroot "$2" "$3"
"""


NETDEV = ("set", "bridge", "br0", "datapath_type=netdev")


class Switch:
    """The two daemons on a host; they end with it."""

    def __init__(self, host: Host, root: Path) -> None:
        self.host = host
        self.root = root
        self.run = host.folder / "run"
        (self.run / "openvswitch").mkdir(parents=True)
        self.containers: list[subprocess.Popen[bytes]] = []
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
        self.vsctl("--", "--may-exist", "add-br", "br0", "--", *NETDEV)


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
    daemons = ("ovs-vswitchd", "ovsdb-server")
    for daemon, container in zip(daemons, switch.start_both(), strict=True):
        switch.add_bridge()
        end(container, signal.SIGKILL)
        assert container.returncode
        switch.start(daemon)
    assert switch.vsctl("list-br") == "br0"
    switch.vsctl("set", "bridge", "br0", "other_config:again=yes")


def test_a_second_server_is_refused(switch: Switch) -> None:
    """A database that another ovsdb-server has, perhaps the node's own, is left alone."""
    switch.start("ovsdb-server")
    switch.vsctl("--no-wait", "init")
    second = switch.start("ovsdb-server")
    _, log = second.communicate(timeout=20)
    assert second.returncode
    assert b"ovsdb-server.pid: pidfile check failed" in log
    assert switch.vsctl("--no-wait", "list-br") == ""


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
