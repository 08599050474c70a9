# SPDX-License-Identifier: Apache-2.0
"""`linenctl plan`: says what the next ADD does, does nothing itself, and is right about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.host import DATAPATH

if TYPE_CHECKING:
    from cli.conftest import Node


def plan(node: Node) -> list[str]:
    """The sentences for the one network."""
    done = node.linenctl("plan", "--json")
    (sentences,) = json.loads(done.stdout).values()
    assert done.returncode == (2 if sentences else 0), done
    assert isinstance(sentences, list)
    return sentences


def test_fresh_node(fresh: Node) -> None:
    """On a fresh node the plan is all that the first ADD makes."""
    options = "key=flow, remote_ip="
    assert plan(fresh) == [
        f"create OVS bridge br0 (datapath {DATAPATH})",
        *(
            f"add tunnel vxif{peer.replace('.', '_')} to OVS bridge br0 ({options}{peer})"
            for peer in ("10.245.2.2", "10.245.2.3", "10.245.2.4")
        ),
        "attach br0 to Linux bridge kbr0, which the bridge plugin makes before",
    ]


def test_changes_nothing(fresh: Node) -> None:
    """A plan is only read."""
    plan(fresh)

    assert fresh.host.vsctl("list-br") == "br-phy"


def test_empty_after_add(node: Node) -> None:
    """After an ADD nothing is left to do: plan and plugin agree about what is wanted."""
    assert plan(node) == []


def test_every_kind_of_difference(node: Node) -> None:
    """What was damaged or is newly wanted is planned, and the next ADD does all of it."""
    node.host.vsctl(
        "del-port", "vxif10_245_2_3", "--", "set", "port", "vxif10_245_2_2", "protected=true",
        "--", "set", "bridge", "br0", "fail_mode=secure",
    )  # fmt: skip
    node.host.run("ip", "link", "set", "br0", "nomaster")
    node.ovs["vtepIPs"] = ["10.245.2.2", "10.245.2.3"]
    node.ovs["controller"] = "127.0.0.1:6653"
    node.write(node.document)

    assert plan(node) == [
        "set fail_mode=standalone on OVS bridge br0",
        "add tunnel vxif10_245_2_3 to OVS bridge br0 (key=flow, remote_ip=10.245.2.3)",
        "attach controller tcp:127.0.0.1:6653 to OVS bridge br0",
        "change tunnel vxif10_245_2_2 on OVS bridge br0 to key=flow, remote_ip=10.245.2.2",
        "remove tunnel vxif10_245_2_4 to 10.245.2.4 from OVS bridge br0",
        "attach br0 to Linux bridge kbr0, whose MAC address is pinned first",
    ]

    node.chain.add("another")
    assert plan(node) == []


def test_own_address_is_no_tunnel(fresh: Node) -> None:
    """The node's own address in the list is left out of the plan, as it is by the plugin."""
    fresh.ovs["vtepIPs"].append("10.245.2.1")
    fresh.write(fresh.document)

    assert not [sentence for sentence in plan(fresh) if "10.245.2.1)" in sentence]


def test_conflict(fresh: Node) -> None:
    """What the plugin would refuse is an error, not a plan."""
    fresh.host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    fresh.ovs["datapathType"] = "system"
    fresh.write(fresh.document)

    done = fresh.linenctl("plan")

    assert done.returncode == 1
    assert "datapath_type" in done.stderr


def assert_refused_as_by_add(node: Node) -> None:
    """`linenctl plan` fails, and an ADD that follows says the same two lines."""
    done = node.linenctl("plan")

    assert done.returncode == 1
    node.host.add_namespace("pod")
    refused = node.chain.run("add", "pod")
    words = done.stderr.removeprefix("Error: ").splitlines()
    assert len(words) == 2
    assert [line for line in words if line not in refused.stdout + refused.stderr] == []


@pytest.mark.parametrize("is_made", [True, False], ids=["kbr0 exists", "no kbr0 yet"])
def test_foreign_bridge_on_another_linux_bridge(fresh: Node, *, is_made: bool) -> None:
    """Somebody else's OVS bridge that hangs on another Linux bridge is refused as ADD refuses it.

    Word for word.
    """
    fresh.host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    fresh.host.run("ip", "link", "add", "other0", "type", "bridge")
    fresh.host.run("ip", "link", "set", "br0", "master", "other0")
    if is_made:
        fresh.host.run("ip", "link", "add", "kbr0", "type", "bridge")

    assert_refused_as_by_add(fresh)


@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_foreign_device(fresh: Node, kind: str) -> None:
    """A device that only has the OVS bridge's name is refused as ADD refuses it, word for word."""
    fresh.host.run("ip", "link", "add", "br0", "type", kind)

    assert_refused_as_by_add(fresh)


def test_own_bridge_on_another_linux_bridge(node: Node) -> None:
    """The network's own OVS bridge is planned to move to the network's Linux bridge, and does."""
    node.host.run("ip", "link", "add", "other0", "type", "bridge")
    node.host.run("ip", "link", "set", "br0", "master", "other0")

    assert plan(node) == ["attach br0 to Linux bridge kbr0, whose MAC address is pinned first"]

    node.chain.add("another")
    assert plan(node) == []


def test_bridge_that_is_down(node: Node) -> None:
    """An OVS bridge in its place that was set down is set up."""
    node.host.run("ip", "link", "set", "br0", "down")

    assert plan(node) == ["set device br0 up"]


def test_ovsdb_away(fresh: Node) -> None:
    """Without OVSDB there is no plan, and the socket is named."""
    fresh.host.signal("KILL", "ovsdb-server")

    done = fresh.linenctl("plan")

    assert done.returncode == 1
    assert "/var/run/openvswitch/db.sock" in done.stderr


def test_older_than_the_oldest(fresh: Node) -> None:
    """An Open vSwitch that lacks what the plugin reads is told as such, and the socket is named."""
    fresh.lose_column("Interface", "mtu_request")

    done = fresh.linenctl("plan")

    assert done.returncode == 1
    assert "/var/run/openvswitch/db.sock refuses to be read" in done.stderr
    assert "or newer is needed" in done.stderr


def test_broken_conflist(fresh: Node) -> None:
    """A conflist with errors has no plan; the user is sent to the command that tells them."""
    fresh.ovs["vtepIPs"] = "10.245.2.2"
    fresh.write(fresh.document)

    done = fresh.linenctl("plan", fresh.conflist)

    assert done.returncode == 1
    assert "linenctl check" in done.stderr
