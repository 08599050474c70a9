# SPDX-License-Identifier: Apache-2.0
"""The MTU of pods, which is the underlay's less what VXLAN needs, and of the bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.host import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemons import Flaxd
    from support.host import Host


@pytest.mark.usefixtures("flaxd")
def test_mtu_follows_the_underlay(node1: Host, settings: dict[str, Any]) -> None:
    """Both bridges have the conflist's MTU, also after it has grown.

    With a smaller one than their pods' they would drop what is too large without a word.
    """
    path: Path = settings["conflist"]
    wait_until(path.exists, "the conflist")
    node1.run("ip", "link", "add", "kbr0", "mtu", "1450", "type", "bridge")

    for underlay in 9000, 1400:
        for device in "eth0", "cable":
            node1.run("ip", "link", "set", device, "mtu", str(underlay))
        pods = underlay - 50
        wait_until(lambda: f'"mtu": {pods}' in path.read_text(), f"{pods} in the conflist")  # noqa: B023
        wait_until(
            lambda: {node1.links()[name]["mtu"] for name in ("kbr0", "br0")} == {pods},  # noqa: B023
            f"bridges with {pods}",
        )


def test_address_that_goes_for_a_while(node1: Host, settings: dict[str, Any], flaxd: Flaxd) -> None:
    """Without the tunnel address on a device the conflist stays as it is, and that is told."""
    path: Path = settings["conflist"]
    wait_until(path.exists, "the conflist")
    before = path.read_text()

    node1.run("ip", "address", "del", "10.245.0.1/16", "dev", "eth0")
    wait_until(lambda: "no device of this node has" in flaxd.get("/readyz")[1], "503")
    assert path.read_text() == before

    node1.run("ip", "address", "add", "10.245.0.1/16", "dev", "eth0")
    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "200")
    assert path.read_text() == before
