# SPDX-License-Identifier: Apache-2.0
"""`linenctl uninstall` where flaxd runs, or has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.daemons import FLAXD, running_flaxd
from support.host import wait_until

if TYPE_CHECKING:
    import subprocess

    from support.host import Host


def uninstall(host: Host, settings: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Call it for the folders of a daemon."""
    folders = {
        "--bin-dir": settings["bin_dir"],
        "--conf-dir": settings["conflist"].parent,
        "--state-dir": settings["state_dir"],
    }
    options = [f"{name}={folder}" for name, folder in folders.items()]
    return host.run(FLAXD.with_name("linenctl"), "uninstall", *options, check=False)


def test_uninstall_leaves_nothing(node1: Host, settings: dict[str, Any]) -> None:
    """After the daemon `linenctl uninstall` leaves no row, no file and no table of nftables.

    While that runs, and would make all of it anew, nothing is removed.
    """
    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("the overlay works")
        wait_until(settings["conflist"].exists, "the conflist")
        daemon.wait_for("pods cannot send VXLAN")
        refused = uninstall(node1, settings)
        assert refused.returncode == 1
        assert "flaxd of network linen-network runs on this node" in refused.stderr
        assert settings["conflist"].exists()
        assert (settings["bin_dir"] / "linen").exists()
        assert {"vxif10_245_0_2", "vxif10_245_0_3"} <= set(node1.vsctl("list-ports", "br0").split())
    assert "linen-linen-network" in node1.run("nft", "list", "tables").stdout

    assert uninstall(node1, settings).returncode == 0

    assert node1.records("Bridge", "name") == []
    assert node1.records("Interface", "name") == []
    assert not settings["conflist"].exists()
    assert list(settings["state_dir"].rglob("*")) == []
    assert not node1.run("nft", "list", "tables").stdout


def test_daemon_that_has_nothing_yet(node1: Host, settings: dict[str, Any]) -> None:
    """One that waits for its nodes would make all of it later, so nothing is removed either.

    Also where two of them run, of which one has said so in Open vSwitch.
    """
    settings["peers"] = node1.folder / "later.json"
    plugin = settings["bin_dir"] / "linen"
    with running_flaxd(node1, **settings, network="red") as red:
        red.wait_for("waiting: this node's tunnel address is not known yet")
        with running_flaxd(node1, **settings, network="blue") as blue:
            blue.wait_for("waiting: this node's tunnel address is not known yet")
            _assert_refused(node1, settings)
        _assert_refused(node1, settings)
    assert node1.records("Bridge", "name") == []

    assert uninstall(node1, settings).returncode == 0
    assert not plugin.exists()


def _assert_refused(host: Host, settings: dict[str, Any]) -> None:
    refused = uninstall(host, settings)
    assert refused.returncode == 1
    assert "flaxd runs on this node" in refused.stderr
    assert (settings["bin_dir"] / "linen").exists()
