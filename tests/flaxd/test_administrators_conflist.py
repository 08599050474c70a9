# SPDX-License-Identifier: Apache-2.0
"""An administrator's conflist that changes while flaxd runs: daemon and plugin want the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.cni import Chain
from support.daemons import Flaxd, running_flaxd
from support.host import DATAPATH, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemons import Nodes
    from support.host import Host

AGAIN = "starting again with that"
RANGE = {
    "subnet": "10.244.0.0/16",
    "rangeStart": "10.244.1.2",
    "rangeEnd": "10.244.1.254",
    "gateway": "10.244.1.1",
}


def conflist(linux_bridge: str, vni: int) -> dict[str, Any]:
    """An administrator's, of node1."""
    ipam = {"type": "host-local", "ranges": [[RANGE]]}
    bridge = {"type": "bridge", "bridge": linux_bridge, "isDefaultGateway": True, "ipam": ipam}
    ovs = {"ovsBridge": "br0", "topology": "mesh", "vni": vni, "datapathType": DATAPATH}
    plugins = [bridge, {"type": "linen", "ovs": ovs}]
    return {"cniVersion": "1.0.0", "name": "linen-network", "plugins": plugins}


def write(path: Path, text: str) -> None:
    """In place, as with `cat >`; the folder as well."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.fixture
def adopted(node1: Host, settings: dict[str, Any]) -> Iterator[Flaxd]:
    """Node1's daemon with an administrator's conflist: Linux bridge kbr0, vni 7.

    At a fixed port, which it has to get again.
    """
    write(settings["conflist"], json.dumps(conflist("kbr0", 7)))
    with running_flaxd(node1, **settings, listen="127.0.0.1:9474") as daemon:
        daemon.wait_for("the overlay works")
        yield daemon


def keys(host: Host) -> set[str]:
    """The vni of the tunnels."""
    rows = host.records("Interface", "options", "type")
    return {row["options"].get("key", "") for row in rows if row["type"] == "vxlan"}


def wait_until_followed(daemon: Flaxd) -> None:
    """Return as soon as the daemon works with the conflist of Linux bridge kbr9 and vni 8."""
    daemon.wait_for(AGAIN)
    wait_until(lambda: keys(daemon.host) == {"8"}, "tunnels of vni 8")
    wait_until(lambda: daemon.log.count("the overlay works") > 1, "the overlay to work")


def test_daemon_wants_what_the_plugin_wants(adopted: Flaxd, settings: dict[str, Any]) -> None:
    """Linux bridge and vni become others, and the daemon undoes nothing of the ADD that follows."""
    host, after = adopted.host, conflist("kbr9", 8)
    Chain(host, conflist("kbr0", 7), settings["bin_dir"]).add("first")
    wait_until(lambda: host.links()["br0"].get("master") == "kbr0", "br0 on kbr0")

    write(settings["conflist"], json.dumps(after))
    wait_until_followed(adopted)
    Chain(host, after, settings["bin_dir"]).add("second")

    wait_until(lambda: not adopted.state()["plan"], "the daemon to have nothing to do")
    assert host.links()["br0"]["master"] == "kbr9"
    assert keys(host) == {"8"}
    assert adopted.get("/readyz")[0] == 200
    assert adopted.log.count(AGAIN) == 1
    assert adopted.stop() == 0


def test_in_place_of_the_daemons_own(flaxd: Flaxd, settings: dict[str, Any]) -> None:
    """A daemon that wrote the conflist itself follows an administrator's in its place."""
    wait_until(settings["conflist"].exists, "the daemon's own conflist")

    write(settings["conflist"], json.dumps(conflist("kbr9", 8)))

    wait_until_followed(flaxd)
    assert json.loads(settings["conflist"].read_text()) == conflist("kbr9", 8)


def test_removed(node1: Host, settings: dict[str, Any]) -> None:
    """A daemon whose administrator takes the conflist away has its own settings again, at once.

    As after a restart: else it would be another network on the day of the next upgrade.
    """
    write(settings["conflist"], json.dumps(conflist("kbr9", 8)))
    with running_flaxd(node1, **settings, listen="127.0.0.1:9474") as daemon:
        daemon.wait_for("the overlay works")

        settings["conflist"].unlink()

        daemon.wait_for("no longer is an administrator's: starting again with that")
        wait_until(settings["conflist"].exists, "the daemon's own conflist")
        written = json.loads(settings["conflist"].read_text())
        assert written["managedBy"] == "flaxd"
        assert written["plugins"][0]["bridge"] == "kbr0"
        wait_until(lambda: keys(node1) == {"flow"}, "tunnels without a vni")


def test_removed_and_written(adopted: Flaxd, settings: dict[str, Any]) -> None:
    """A conflist that is removed before it is written anew changes nothing in between."""
    settings["conflist"].unlink()
    write(settings["conflist"], json.dumps(conflist("kbr9", 8)))

    wait_until_followed(adopted)
    assert adopted.log.count(AGAIN) == 1
    assert json.loads(settings["conflist"].read_text()) == conflist("kbr9", 8)


@pytest.mark.parametrize("is_removed", [False, True], ids=["in place", "removed before"])
@pytest.mark.parametrize("text", ["", '{"name": "mine", "plugins": [', "[]"])
def test_half_written(
    text: str, adopted: Flaxd, settings: dict[str, Any], *, is_removed: bool
) -> None:
    """A file that cannot be used ends nothing and changes nothing; the whole one is followed."""
    if is_removed:
        settings["conflist"].unlink()
    write(settings["conflist"], text)
    adopted.wait_for("mend it, or remove it")
    assert keys(adopted.host) == {"7"}

    write(settings["conflist"], json.dumps(conflist("kbr9", 8)))

    wait_until_followed(adopted)


def test_contradiction(node1: Host, nodes: Nodes, settings: dict[str, Any]) -> None:
    """A conflist against a setting of the daemon's own is told, and nothing is changed meanwhile.

    Once the two agree the daemon goes on.
    """
    write(settings["conflist"], json.dumps(conflist("kbr0", 7)))
    with running_flaxd(node1, **settings, vni=7) as daemon:
        daemon.wait_for("the overlay works")

        write(settings["conflist"], json.dumps(conflist("kbr0", 8)))
        daemon.wait_for(f"waiting: vni is 7, but {settings['conflist']} says vni 8")
        nodes.add("node4")
        wait_until(lambda: "10_245_0_4" in str(daemon.state()["plan"]), "node4 in the plan")
        assert daemon.get("/readyz")[0] == 503
        assert "vxif10_245_0_4" not in node1.vsctl("list-ports", "br0")

        write(settings["conflist"], json.dumps(conflist("kbr0", 7)))
        wait_until(lambda: "vxif10_245_0_4" in node1.vsctl("list-ports", "br0"), "node4's tunnel")
        wait_until(lambda: daemon.get("/readyz")[0] == 200, "the daemon to be ready")
        assert AGAIN not in daemon.log
