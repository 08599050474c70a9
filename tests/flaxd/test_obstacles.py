# SPDX-License-Identifier: Apache-2.0
"""What keeps flaxd from its work on a host, and what it says of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import FLAXD, running_flaxd
from support.host import DATAPATH, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemons import Flaxd, Nodes
    from support.host import Host


def test_wrong_settings_are_refused_at_start(node1: Host, settings: dict[str, Any]) -> None:
    """Wrong settings end the daemon at once, with status 2 and every fault."""
    with running_flaxd(node1, **settings, vni=0, mtu="large") as daemon:
        assert daemon.process.wait(timeout=30) == 2

    assert "--vni" in daemon.log
    assert "--mtu" in daemon.log


def test_address_that_is_not_there(node1: Host, settings: dict[str, Any]) -> None:
    """An address that cannot be listened on ends the daemon, with the reason and the cure.

    The address may come later, so it is to be started again: status 1.
    """
    with running_flaxd(node1, **settings, listen="192.0.2.1:9") as daemon:
        assert daemon.process.wait(timeout=30) == 1

    last = daemon.log.splitlines()[-1]
    assert last.startswith("flaxd: cannot listen on 192.0.2.1:9")
    assert last.endswith("choose another address with --listen")


def test_conflist_that_cannot_be_read(node1: Host, settings: dict[str, Any]) -> None:
    """Half a conflist, as one who writes it may leave it, is a reason to be started again."""
    settings["conflist"].parent.mkdir(exist_ok=True)
    settings["conflist"].write_text('{"name": "linen-net')
    with running_flaxd(node1, **settings) as daemon:
        assert daemon.process.wait(timeout=30) == 1

    assert daemon.log.startswith(f"flaxd: {settings['conflist']} cannot be used")


def test_folder_that_cannot_be_made(node1: Host, settings: dict[str, Any]) -> None:
    """Where the conflist's folder cannot be made the daemon ends with a sentence and the cure.

    So it is in a pod that has no mount there: the image is read-only.
    """
    image = node1.folder / "image"
    image.mkdir()
    node1.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", image)
    there = {"conflist": image / "net.d" / "linen.conflist"}
    with running_flaxd(node1, **settings | there) as daemon:
        assert daemon.process.wait(timeout=30) == 1

    assert "Traceback" not in daemon.log
    last = daemon.log.splitlines()[-1]
    assert last.startswith(f"flaxd: {image / 'net.d'} cannot be made: Read-only file system")
    assert "LINEN_CONFLIST" in last


@pytest.mark.parametrize(
    ("limit", "missing"),
    [
        ("max_inotify_instances", "fs.inotify.max_user_instances"),
        ("max_inotify_watches", "fs.inotify.max_user_watches"),
    ],
)
def test_kernel_watches_no_files(
    node1: Host, nodes: Nodes, settings: dict[str, Any], limit: str, missing: str
) -> None:
    """Where the kernel lets it watch no file it looks for changes itself, and says what to do."""
    # The limit is that of a user namespace, and /proc that of the daemon's processes.
    inside = f'echo 0 >/proc/sys/user/{limit} && exec "$@"'
    outside = f"mount -t proc proc /proc && exec unshare --map-root-user sh -c '{inside}' sh \"$@\""
    apart = ["unshare", "--mount", "sh", "-c", outside, "sh"]
    with running_flaxd(node1, program=[*apart, FLAXD], **settings) as daemon:
        daemon.wait_for("serving http")
        wait_until(lambda: peers(daemon) == {"node2", "node3"}, "the first peers")
        nodes.add("node4")
        wait_until(lambda: "node4" in peers(daemon), "the new peer", 30)

        told = [line for line in daemon.log.splitlines() if missing in line]
        assert len(told) == 2  # for the file of nodes, and for the conflist's folder
        assert "sysctl -w" in told[0]


def test_another_conflist_comes_first(flaxd: Flaxd, settings: dict[str, Any]) -> None:
    """A file that the runtime takes before flaxd's is named, with the cure, until it is gone."""
    wait_until(settings["conflist"].exists, "the conflist")
    rival: Path = settings["conflist"].with_name("10-flannel.conflist")
    rival.write_text('{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": "flannel"}]}')
    flaxd.wait_for(f"{rival}: this file comes before linen.conflist")
    assert flaxd.get("/readyz")[0] == 200

    rival.unlink()
    wait_until(lambda: not flaxd.state()["faults"], "the fault to be gone")


@pytest.mark.parametrize("is_made", [True, False], ids=["kbr0 exists", "no kbr0 yet"])
def test_foreign_bridge_on_another_linux_bridge(
    node1: Host, settings: dict[str, Any], *, is_made: bool
) -> None:
    """Somebody else's OVS bridge stays on its Linux bridge, without tunnels, until that is cured.

    What it hangs on is named, with the cure, and no runtime takes the node for ready.
    """
    node1.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    for name in ["other0", "kbr0"][: 1 + is_made]:
        node1.run("ip", "link", "add", name, "type", "bridge")
    node1.run("ip", "link", "set", "br0", "master", "other0")

    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("waiting: OVS bridge br0 hangs on other0 and is not of network")
        assert "`ip link set br0 nomaster`" in daemon.log
        assert daemon.get("/readyz")[0] == 503
        assert node1.links()["br0"]["master"] == "other0"
        assert node1.vsctl("list-ports", "br0") == ""
        assert not settings["conflist"].exists()

        node1.run("ip", "link", "set", "br0", "nomaster")
        daemon.wait_for("the overlay works")
        assert node1.links()["br0"].get("master") == ("kbr0" if is_made else None)


@pytest.mark.parametrize("has_row", [False, True], ids=["no row", "row of before"])
@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_foreign_device(node1: Host, settings: dict[str, Any], kind: str, *, has_row: bool) -> None:
    """A device that only has the OVS bridge's name is left alone, and named, until it is gone.

    So it is where OVSDB has an OVS bridge of that name, of which Open vSwitch can make nothing.
    """
    node1.run("ip", "link", "add", "kbr0", "type", "bridge")
    node1.run("ip", "link", "add", "br0", "type", kind)
    if has_row:
        br0 = ("--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
        node1.vsctl("--no-wait", "add-br", "br0", *br0)
    before = node1.vsctl("list-br"), node1.records("Port")

    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for(f"waiting: br0 is a {'Linux bridge' if kind == 'bridge' else 'network'}")
        assert "choose another for ovs.ovsBridge (flaxd's ovs-bridge)" in daemon.log
        assert daemon.get("/readyz")[0] == 503
        assert "master" not in node1.links()["br0"]
        assert (node1.vsctl("list-br"), node1.records("Port")) == before
        assert not settings["conflist"].exists()

        node1.run("ip", "link", "del", "br0")
        daemon.wait_for("the overlay works")
        assert node1.links()["br0"]["master"] == "kbr0"


def peers(daemon: Flaxd) -> set[str]:
    """The names of the nodes that the daemon knows besides its own."""
    return {peer["peer"] for peer in daemon.state()["peers"]}
