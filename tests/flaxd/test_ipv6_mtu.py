# SPDX-License-Identifier: Apache-2.0
"""How large pods' packets may be: the underlay's MTU less what VXLAN adds, and enough for IPv6."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import running_flaxd
from support.host import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host

IPV4, IPV6 = "10.244.0.0/16", "fd00:10:244::/48"
OVER_IPV4, OVER_IPV6 = "10.245.0.1", "fd00:10:245::1"


@pytest.fixture
def underlay(node1: Host) -> Host:
    """A host whose underlay has an address of each IP version."""
    node1.run("ip", "address", "add", f"{OVER_IPV6}/64", "dev", "eth0", "nodad")
    return node1


def settings_of(host: Host, settings: dict[str, Any], vtep: str, *whole: str) -> dict[str, Any]:
    """The settings of node1's daemon in a cluster with these pod networks."""
    parts = {IPV4: "10.244.1.0/24", IPV6: "fd00:10:244:1::/64"}
    node1 = {"name": "node1", "vtep": vtep, "ranges": [parts[one] for one in whole]}
    peers = host.folder / "peers.json"
    peers.write_text(json.dumps({"clusterRange": list(whole), "nodes": [node1]}))
    return settings | {"peers": peers}


def mtu_in(conflist: Path) -> int:
    """The MTU that pods get; waits for the conflist."""
    wait_until(conflist.exists, "the conflist")
    return int(json.loads(conflist.read_text())["plugins"][0]["mtu"])


@pytest.mark.parametrize(
    ("vtep", "mtu", "pods"),
    [
        (OVER_IPV4, 1500, 1450),
        (OVER_IPV6, 1500, 1430),
        (OVER_IPV4, 9000, 8950),
        (OVER_IPV6, 9000, 8930),
        (OVER_IPV4, 1330, 1280),
        (OVER_IPV6, 1350, 1280),
    ],
)
def test_what_the_underlay_leaves(
    underlay: Host, settings: dict[str, Any], vtep: str, mtu: int, pods: int
) -> None:
    """Pods' packets are 50 bytes smaller than the underlay's over IPv4, and 70 over IPv6."""
    underlay.run("ip", "link", "set", "eth0", "mtu", str(mtu))

    with running_flaxd(underlay, **settings_of(underlay, settings, vtep, IPV4, IPV6)):
        assert mtu_in(settings["conflist"]) == pods


@pytest.mark.parametrize(("vtep", "enough"), [(OVER_IPV4, 1330), (OVER_IPV6, 1350)])
@pytest.mark.parametrize("whole", [(IPV6,), (IPV4, IPV6)], ids=["ipv6", "dual"])
def test_too_little_for_ipv6(
    underlay: Host, settings: dict[str, Any], vtep: str, enough: int, whole: tuple[str, ...]
) -> None:
    """Without 1280 bytes for IPv6 there is no conflist, but why and what would do; then there is.

    The kernel has no IPv6 on a device with less, so no pod could start.
    """
    conflist: Path = settings["conflist"]
    underlay.run("ip", "link", "set", "eth0", "mtu", str(enough - 1))
    with running_flaxd(underlay, **settings_of(underlay, settings, vtep, *whole)) as daemon:
        daemon.wait_for("waiting: IPv6 needs packets of 1280 bytes, eth0 leaves 1279 for pods")
        assert f"give eth0 an MTU of {enough}" in daemon.get("/readyz")[1]
        assert not conflist.exists()

        underlay.run("ip", "link", "set", "eth0", "mtu", str(enough))

        assert mtu_in(conflist) == 1280


def test_enough_for_ipv4(underlay: Host, settings: dict[str, Any]) -> None:
    """Pods that have IPv4 alone may have smaller packets."""
    underlay.run("ip", "link", "set", "eth0", "mtu", "1000")
    over_ipv4 = settings_of(underlay, settings, OVER_IPV4, IPV4)

    with running_flaxd(underlay, **over_ipv4):
        assert mtu_in(settings["conflist"]) == 950


def test_set_too_small(underlay: Host, settings: dict[str, Any]) -> None:
    """An MTU that is set and too small for the IPv6 pods of the file of nodes is told, likewise."""
    dual = settings_of(underlay, settings, OVER_IPV4, IPV4, IPV6)

    with running_flaxd(underlay, **dual, mtu=1200) as daemon:
        daemon.wait_for("waiting: IPv6 needs packets of 1280 bytes, mtu is 1200")
        assert not settings["conflist"].exists()
