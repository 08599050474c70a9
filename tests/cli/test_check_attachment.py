# SPDX-License-Identifier: Apache-2.0
"""`linenctl check` about the OVS bridge's place on the Linux bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.conftest import only
from support.host import DATAPATH

if TYPE_CHECKING:
    from cli.conftest import Node

# As the bridge plugin and an ADD leave it, so that no check has anything against it.
KBR0 = ("mtu", "1400", "address", "02:00:00:00:00:01", "type", "bridge")


@pytest.mark.parametrize(
    ("device", "change", "word"),
    [
        ("br0", ("nomaster",), "hangs on no Linux bridge"),
        ("br0", ("down",), "br0 is down"),
        ("kbr0", ("down",), "kbr0 is down"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_cut_between_the_bridges(
    node: Node, device: str, change: tuple[str, ...], word: str
) -> None:
    """An OVS bridge that is off its Linux bridge, or either being down, is an error."""
    node.host.run("ip", "link", "set", device, *change)

    assert word in only(node, "attachment")["what"]


def test_bridge_on_another_bridge(node: Node) -> None:
    """An OVS bridge on another Linux bridge is an error that names both."""
    node.host.run("ip", "link", "add", "other0", "type", "bridge")
    node.host.run("ip", "link", "set", "br0", "master", "other0")

    assert "hangs on other0 instead of kbr0" in only(node, "attachment")["what"]


@pytest.mark.parametrize("is_made", [True, False], ids=["kbr0 exists", "no kbr0 yet"])
def test_foreign_bridge_on_another_bridge(fresh: Node, *, is_made: bool) -> None:
    """An OVS bridge of somebody else that another Linux bridge holds fails ADDs, with this cure."""
    fresh.host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    fresh.host.run("ip", "link", "add", "other0", "type", "bridge")
    fresh.host.run("ip", "link", "set", "br0", "master", "other0", "up")
    if is_made:
        fresh.host.run("ip", "link", "add", "kbr0", *KBR0)

    finding = only(fresh, "attachment")

    assert "OVS bridge br0 hangs on other0" in finding["what"]
    assert "code 102" in finding["cause"]
    assert "ovs.ovsBridge" in finding["cure"]
    assert "ip link set br0 nomaster" in finding["cure"]
    fresh.host.run("ip", "link", "set", "br0", "nomaster")
    fresh.chain.add("pod")
    assert fresh.faults() == []


@pytest.mark.parametrize("has_row", [False, True], ids=["no row", "row of before"])
@pytest.mark.parametrize(("kind", "seen"), [("veth", "network device"), ("bridge", "Linux bridge")])
def test_foreign_device(fresh: Node, kind: str, seen: str, *, has_row: bool) -> None:
    """A device that only has the OVS bridge's name fails ADDs; nobody is told to hang it anywhere.

    What Open vSwitch itself says of a row of that name is told as well.
    """
    fresh.host.run("ip", "link", "add", "kbr0", *KBR0)
    fresh.host.run("ip", "link", "set", "kbr0", "up")
    fresh.host.run("ip", "link", "add", "br0", "type", kind)
    if has_row:
        br0 = ("--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
        fresh.host.vsctl("--no-wait", "add-br", "br0", *br0)

    findings = [one for one in fresh.findings() if one["severity"] == "error"]

    finding = next(one for one in findings if one["check"] == "overlay")
    assert finding["what"].startswith(f"br0 is a {seen}")
    assert "code 102" in finding["cause"]
    assert "ovs.ovsBridge" in finding["cure"]
    assert {one["check"] for one in findings} <= {"overlay", "interface-error"}
    fresh.host.run("ip", "link", "del", "br0")
    fresh.chain.add("pod")
    assert [one for one in fresh.findings() if one["severity"] == "error"] == []
