# SPDX-License-Identifier: Apache-2.0
"""Folders that flaxd needs, removed and made anew below it."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import Nodes, running_flaxd
from support.host import VSWITCHD, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemons import Flaxd
    from support.host import Host

SOCKETS = "/run/openvswitch"
MOUNT = "/run/in-a-pod"
START_OVS = f"""
set -eu
mkdir -p {SOCKETS}
cd {SOCKETS}
ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server conf.db --remote=punix:db.sock --detach --pidfile -vconsole:off
ovs-vsctl --no-wait init
{VSWITCHD}
"""


def stop_ovs(host: Host) -> None:
    for daemon in ("ovs-vswitchd", "ovsdb-server"):
        host.signal("TERM", daemon)


def test_conflist_folder(flaxd: Flaxd, settings: dict[str, Any]) -> None:
    """When the conflists' folder was replaced, the conflist is back, and changes are noticed."""
    conflist: Path = settings["conflist"]
    wait_until(conflist.exists, "the conflist")
    flaxd.process.send_signal(signal.SIGSTOP)  # it would write while the folder is being removed
    shutil.rmtree(conflist.parent)
    conflist.parent.mkdir()
    flaxd.process.send_signal(signal.SIGCONT)
    wait_until(conflist.exists, "the conflist in the new folder")

    rival = conflist.with_name("10-flannel.conflist")
    rival.write_text('{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": "flannel"}]}')
    flaxd.wait_for(f"{rival}: this file comes before linen.conflist")


def test_conflist_folder_behind_a_mount(node1: Host, settings: dict[str, Any]) -> None:
    """When the conflists' folder that is mounted was removed, the daemon ends, and says why."""
    conflist: Path = settings["conflist"]
    conflist.parent.mkdir(exist_ok=True)
    node1.run("mkdir", MOUNT)
    node1.run("mount", "--bind", conflist.parent, MOUNT)
    mounted = settings | {"conflist": f"{MOUNT}/{conflist.name}"}
    with running_flaxd(node1, **mounted) as daemon:
        wait_until(conflist.exists, "the conflist")
        daemon.process.send_signal(signal.SIGSTOP)
        shutil.rmtree(conflist.parent)
        daemon.process.send_signal(signal.SIGCONT)

        assert daemon.process.wait(timeout=30) == 1
        assert f"flaxd: {MOUNT} was removed on the host" in daemon.log.splitlines()[-1]
        assert "Traceback" not in daemon.log


def test_folder_of_the_nodes(node1: Host, settings: dict[str, Any]) -> None:
    """The nodes' file is read when its folder is back, and each time that it is replaced in it."""
    folder = node1.folder / "cluster"
    folder.mkdir()
    nodes = Nodes(folder / "nodes.json", "node1", "node2")
    with running_flaxd(node1, **settings | {"peers": nodes.path}) as daemon:
        daemon.wait_for("the overlay works")
        shutil.rmtree(folder)
        daemon.wait_for("the nodes stay as they were known")

        folder.mkdir()
        for name in ("node3", "node4"):
            nodes.add(name)
            wait_until(lambda: name in peers(daemon), name)  # noqa: B023


def peers(daemon: Flaxd) -> set[str]:
    return {peer["peer"] for peer in daemon.state()["peers"]}


@pytest.fixture
def mounted(node1: Host, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a daemon that has the folder of OVSDB's socket mounted, as in a pod."""
    node1.run("mkdir", MOUNT)
    node1.run("mount", "--bind", SOCKETS, MOUNT)
    return settings | {"ovsdb": f"unix:{MOUNT}/db.sock"}


def test_sockets_folder_behind_a_mount(node1: Host, mounted: dict[str, Any]) -> None:
    """When the folder that is mounted was removed, the daemon ends, and says why.

    Its next start is with the folder that the host has then.
    """
    with running_flaxd(node1, **mounted) as daemon:
        daemon.wait_for("the overlay works")
        stop_ovs(node1)
        node1.run("rm", "-r", SOCKETS)
        node1.run("sh", "-c", START_OVS)

        assert daemon.process.wait(timeout=30) == 1
        assert daemon.log.splitlines()[-1] == (
            f"flaxd: {MOUNT} was removed on the host to be made anew;"
            " this mount shows the old one for ever: ending, to be started again"
        )
        assert "Traceback" not in daemon.log
    node1.run("umount", MOUNT)
    node1.run("mount", "--bind", SOCKETS, MOUNT)
    with running_flaxd(node1, **mounted) as daemon:
        wait_until(lambda: daemon.log.count("the overlay works") == 2, "the overlay to work again")


def test_ovsdb_stopped_behind_a_mount(node1: Host, mounted: dict[str, Any]) -> None:
    """When OVSDB only stops, also if it takes all its files along, the daemon waits for it."""
    with running_flaxd(node1, **mounted) as daemon:
        daemon.wait_for("the overlay works")
        stop_ovs(node1)
        node1.run("find", SOCKETS, "-mindepth", "1", "-delete")
        daemon.wait_for("waiting: OVSDB")
        wait_until(lambda: "No such file" in daemon.get("/readyz")[1], "the socket's absence")

        node1.run("sh", "-c", START_OVS)
        wait_until(lambda: daemon.get("/readyz")[0] == 200, "ready again")


def test_sockets_folder_without_a_mount(node1: Host, flaxd: Flaxd) -> None:
    """Where the daemon sees the host's own folders, it waits for that of the sockets."""
    stop_ovs(node1)
    node1.run("rm", "-r", SOCKETS)
    wait_until(lambda: "No such file" in flaxd.get("/readyz")[1], "the folder's absence")

    node1.run("sh", "-c", START_OVS)
    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready again")
