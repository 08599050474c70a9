# SPDX-License-Identifier: Apache-2.0
"""flaxd with no more rights than its systemd unit gives it, and with fewer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.confinement import USER, WRITABLE, capabilities, confined_flaxd
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.daemons import Flaxd
    from support.host import Host

TUNNEL = "vxif10_245_0_2"
CAPABILITY_NUMBERS = {"CAP_DAC_OVERRIDE": 1, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}


@pytest.fixture
def underlay(host: Host) -> Host:
    """A host with an underlay, and no Linux bridge yet."""
    host.add_underlay("10.245.0.1/16")
    return host


@pytest.fixture
def flaxd(underlay: Host) -> Iterator[Flaxd]:
    """The confined daemon, once its overlay works."""
    with confined_flaxd(underlay) as daemon:
        daemon.wait_for("the overlay works")
        yield daemon


def add_pod_network(host: Host) -> None:
    """Make the Linux bridge, and on it somebody who answers for node2's gateway."""
    script = """
    link add kbr0 mtu 1450 type bridge
    link add cable type veth peer eth0 netns node2
    link set cable master kbr0 up
    link set kbr0 up
    address add 10.244.1.1/16 dev kbr0
    """
    host.add_namespace("node2")
    host.run("ip", "-batch", "-", stdin=script)
    host.run("ip", "-n", "node2", "address", "add", "10.244.2.1/16", "dev", "eth0")
    host.run("ip", "-n", "node2", "link", "set", "eth0", "up")


def status(flaxd: Flaxd) -> dict[str, str]:
    """The process's state as the kernel tells it."""
    text = Path(f"/proc/{flaxd.process.pid}/status").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", text, re.MULTILINE))


def writable_mounts(flaxd: Flaxd) -> set[str]:
    """Where the process may write at all."""
    process = Path(f"/proc/{flaxd.process.pid}")
    lines = (process / "mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4] for line in lines]
    # A mount may lie hidden below a later one; what counts is what is found at its path.
    seen = {point: process / "root" / point.lstrip("/") for point in points}
    return {
        point
        for point, path in seen.items()
        if path.exists() and not os.statvfs(path).f_flag & os.ST_RDONLY
    }


def test_the_daemon_is_confined(flaxd: Flaxd) -> None:
    """flaxd is not root, has three capabilities, can gain none, and writes to two folders alone."""
    granted = sum(1 << CAPABILITY_NUMBERS[name] for name in capabilities())
    found = status(flaxd)
    assert found["Uid"].split() == [str(USER)] * 4
    assert found["Groups"] == ""
    assert {int(found[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {granted}
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"  # a filter
    assert writable_mounts(flaxd) == {f"/mnt/node/{name}" for name in WRITABLE}


def test_the_confined_daemon_does_all_its_work(underlay: Host, flaxd: Flaxd) -> None:
    """The confined daemon makes tunnels, writes conflist and nodes, attaches br0, probes, mends."""
    conflist = underlay.folder / "net.d" / "linen.conflist"
    wait_until(conflist.exists, "the conflist")
    assert conflist.stat().st_mode & 0o777 == 0o600
    nodes = underlay.folder / "state" / "linen-network" / "peers.json"
    wait_until(nodes.exists, "the nodes to be kept")

    add_pod_network(underlay)
    wait_until(lambda: underlay.links()["br0"].get("master") == "kbr0", "br0 on kbr0")
    wait_until(lambda: flaxd.state()["peers"][0]["probe"] == "ok", "an answered probe")

    underlay.vsctl("del-port", TUNNEL)
    wait_until(lambda: TUNNEL in underlay.vsctl("list-ports", "br0"), "the tunnel again")
    underlay.run("ip", "link", "set", "br0", "nomaster")
    wait_until(lambda: underlay.links()["br0"].get("master") == "kbr0", "br0 on kbr0 again")
    conflist.unlink()
    wait_until(conflist.exists, "the conflist again")
    assert "WARNING" not in flaxd.log


def test_without_net_admin(underlay: Host) -> None:
    """Without CAP_NET_ADMIN the tunnels are made, and what is missing is said and unready."""
    with confined_flaxd(underlay, without=["CAP_NET_ADMIN"]) as daemon:
        daemon.wait_for("without CAP_NET_ADMIN br0 cannot be put on kbr0")
        daemon.wait_for("the overlay works")
        add_pod_network(underlay)

        daemon.wait_for("device br0 cannot be put on Linux bridge kbr0: Operation not permitted")
        wait_until(lambda: daemon.get("/readyz")[0] == 503, "the daemon not to be ready")
        assert "flaxd needs CAP_NET_ADMIN" in daemon.get("/readyz")[1]


def test_without_net_raw(underlay: Host) -> None:
    """Without CAP_NET_RAW all works but the probes, and the daemon says so."""
    add_pod_network(underlay)
    with confined_flaxd(underlay, without=["CAP_NET_RAW"]) as daemon:
        daemon.wait_for("the overlay works")
        daemon.wait_for("no probes over IPv4: no socket for ICMP")
        assert "CAP_NET_RAW" in " ".join(daemon.state()["notes"])
        assert daemon.get("/readyz")[0] == 200


def test_without_dac_override(underlay: Host) -> None:
    """Without CAP_DAC_OVERRIDE the daemon names what it cannot open, and is not ready."""
    with confined_flaxd(underlay, without=["CAP_DAC_OVERRIDE"]) as daemon:
        daemon.wait_for(f"user {USER} may not connect to OVSDB at /var/run/openvswitch/db.sock")
        daemon.wait_for(f"user {USER} may not write the conflist into /mnt/node/net.d")
        assert "CAP_DAC_OVERRIDE" in daemon.log
        daemon.wait_for("serving")
        wait_until(lambda: "Permission denied" in daemon.get("/readyz")[1], "the reason")


def test_read_only_folder_of_the_conflist(underlay: Host) -> None:
    """Where the conflist's folder is mounted read-only, the daemon says so."""
    with confined_flaxd(underlay, writable=["state"]) as daemon:
        daemon.wait_for("may not write the conflist into /mnt/node/net.d: its file system is read-")
        daemon.wait_for("waiting: [Errno 30] Read-only file system")
