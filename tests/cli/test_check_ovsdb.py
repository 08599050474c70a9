# SPDX-License-Identifier: Apache-2.0
"""`linenctl check` where Open vSwitch does not answer, or not as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.conftest import only
from support.host import OVSDB_SOCKET

if TYPE_CHECKING:
    from cli.conftest import Node

EMPTIED = '["Open_vSwitch", {"op": "delete", "table": "Open_vSwitch", "where": []}]'


def test_ovsdb_away(node: Node) -> None:
    """A stopped OVSDB is one error, that names its socket and how to start it."""
    node.host.signal("KILL", "ovsdb-server")

    finding = only(node, "ovsdb")

    assert finding["where"] == "unix:/var/run/openvswitch/db.sock"
    assert "systemctl start" in finding["cure"]


def test_vswitchd_stopped(node: Node) -> None:
    """A stopped ovs-vswitchd is named; what it has left behind is not taken for other faults."""
    node.host.signal("KILL", "ovs-vswitchd")

    assert ("vswitchd", "error") in node.faults()


def test_older_than_the_oldest(fresh: Node) -> None:
    """An Open vSwitch that lacks what the plugin reads is an error among the other findings."""
    fresh.lose_column("Interface", "mtu_request")

    (finding,) = (one for one in fresh.findings() if one["check"] == "overlay")

    assert (finding["severity"], "mtu_request" in finding["what"]) == ("error", True)
    assert "or newer is needed" in finding["cure"]


def test_ovsdb_in_which_nothing_can_be_made(fresh: Node) -> None:
    """An OVSDB that nobody has initialized is an error, as it is to each ADD."""
    fresh.host.signal("KILL", "ovs-vswitchd")
    fresh.host.run("ovsdb-client", "transact", f"unix:{OVSDB_SOCKET}", EMPTIED)

    (finding,) = (one for one in fresh.findings() if one["check"] == "overlay")

    assert "ovs-vsctl init" in finding["cure"]
