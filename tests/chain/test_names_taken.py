# SPDX-License-Identifier: Apache-2.0
"""The OVS bridge's name is somebody else's: ADD and STATUS say whose, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.host import DATAPATH

if TYPE_CHECKING:
    from chain.conftest import Attached

DATAPATH_OF_OTHER = ("--", "set", "bridge", "other", f"datapath_type={DATAPATH}")


@pytest.mark.parametrize(
    "make",
    [
        ("add-port", "other", "br0", "--", "set", "interface", "br0", "type=internal"),
        ("add-br", "br0", "other", "7"),
    ],
    ids=["port", "fake bridge"],
)
def test_port_of_another_ovs_bridge(attached: Attached, make: tuple[str, ...]) -> None:
    """A port of another OVS bridge, or a VLAN's fake bridge, is a conflict, and no ADD can win."""
    attached.host.vsctl("add-br", "other", *DATAPATH_OF_OTHER)
    attached.host.vsctl(*make)

    for text in attached.call("ADD").error(102), attached.call("STATUS").error(50):
        assert "br0 is a port of another OVS bridge" in text
        assert "ovs.ovsBridge" in text


@pytest.mark.parametrize("name", ["br0", "lo"])
def test_foreign_device(attached: Attached, name: str) -> None:
    """A network device that is none of Open vSwitch's is a conflict."""
    if name == "br0":
        attached.host.run("ip", "link", "add", "br0", "type", "veth")
    conf = attached.with_options(ovsBridge=name)

    for text in attached.call("ADD", conf).error(102), attached.call("STATUS", conf).error(50):
        assert f"{name} is a network device" in text
        assert "ovs.ovsBridge" in text
    assert attached.host.vsctl("list-br") == ""


def test_foreign_device_in_place_of_the_bridges(attached: Attached) -> None:
    """Where it has replaced the OVS bridge's own device it is a conflict, too, and left alone."""
    host = attached.host
    attached.call("ADD").result()
    host.run("ip", "link", "del", "br0")
    host.run("ip", "link", "add", "br0", "type", "veth")

    for command, code in {"ADD": 102, "CHECK": 102, "STATUS": 50}.items():
        text = attached.call(command).error(code)
        assert "br0 is a network device that is none of Open vSwitch's" in text
    assert "master" not in host.links()["br0"]


def test_database_that_was_never_initialized(attached: Attached) -> None:
    """In an OVSDB without its one row of Open_vSwitch nothing can be made; the cure is named."""
    attached.host.run("ovs-vsctl", "--no-wait", "emer-reset")
    remove = '["Open_vSwitch",{"op":"delete","table":"Open_vSwitch","where":[]}]'
    attached.host.run("ovsdb-client", "transact", remove)

    for text in attached.call("ADD").error(11), attached.call("STATUS").error(50):
        assert "ovs-vsctl init" in text
