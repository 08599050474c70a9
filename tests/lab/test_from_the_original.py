# SPDX-License-Identifier: Apache-2.0
"""docs/migration.md, "From the original linen-cni": its steps, on nodes as the original left them.

What the original leaves is made here as its source of 2017 says: a bridge without our mark, with a
spanning tree, a tunnel for each address of `vtepIPs` and of the cluster's nodes, and a controller
once more for each pod that it attached.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from linen.lab.cluster import Lab
from linen.lab.conflists import read_conflists
from linen.lab.description import describe
from support.conflists import options_of
from support.labs import fresh_name
from support.paths import EXAMPLES, FROZEN_PLUGIN, LINENCTL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.node import Node

CONFLIST = "/etc/cni/net.d/linen.conflist"
PLUGIN = "/opt/cni/bin/linen"
GONE = "10.245.2.101"  # a node that is no more: the original removed no tunnel


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two nodes of the original: its master, and a minion."""
    conflists = read_conflists(EXAMPLES / "original")
    for conflist in conflists:
        # It answers nobody, and Open vSwitch would wait for it before it forwards by itself.
        del options_of(conflist["plugins"][1])["controller"]
    name = fresh_name()
    with Lab.started(describe(2, conflists=conflists, datapath="netdev", name=name)) as lab:
        for node in lab.nodes.values():
            leave_the_original(node)
        yield lab


def leave_the_original(node: Node) -> None:
    """Make what the original made on a node, and its plugin."""
    with_stp = "datapath_type=netdev fail_mode=standalone stp_enable=true"
    versions = "protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13"
    vsctl(node, f"add-br br0 -- set bridge br0 {with_stp} {versions}")
    others = {"10.245.2.2", "10.245.2.3", GONE} - {str(node.description.vtep.ip)}
    for address in others:
        port = f"vxif{address.replace('.', '_')}"
        tunnel = f"type=vxlan options:key=flow options:remote_ip={address}"
        vsctl(node, f"add-port br0 {port} vlan_mode=trunk -- set interface {port} {tunnel}")
    created = 'create controller target="tcp:127.0.0.1:6653"'
    both = "add bridge br0 controller @one -- add bridge br0 controller @two"
    vsctl(node, f"-- --id=@one {created} -- --id=@two {created} -- {both}")
    node.run(["ip", "link", "add", "kbr0", "type", "bridge"])
    node.run(["ip", "address", "add", f"10.244.{node.description.index}.1/16", "dev", "kbr0"])
    for link, *master in ("kbr0",), ("br0", "master", "kbr0"):
        node.run(["ip", "link", "set", link, *master, "up"])
    node.run(["umount", PLUGIN])
    node.run(["cp", "/bin/false", PLUGIN])


def vsctl(node: Node, words: str) -> str:
    """What ovs-vsctl prints."""
    return node.run(["ovs-vsctl", "--timeout=10", *words.split()]).stdout.strip()


def linenctl(node: Node, *argv: str) -> str:
    """What linenctl prints on a node, whatever it finds."""
    return node.run([*LINENCTL, *argv], check=False).stdout


def faults(node: Node, *argv: str) -> set[tuple[str, str]]:
    """What `linenctl check` finds, but for what is in order."""
    found = json.loads(linenctl(node, "check", "--json", *argv))
    return {(one["check"], one["severity"]) for one in found if one["severity"] != "ok"}


def migrate(node: Node) -> None:
    """Follow the document on a drained node."""
    assert faults(node, CONFLIST) == {("legacy-options", "warning")}
    assert ("foreign-bridge", "note") in faults(node)
    vsctl(node, "del-br br0")
    node.run([*LINENCTL, "install", "--conflist", CONFLIST])


def test_steps_lead_to_a_network_that_works(lab: Lab) -> None:
    """After the steps pods of both nodes reach each other, and nothing of the original is left."""
    for node in lab.nodes.values():
        migrate(node)
    for node in lab.nodes.values():
        lab.add_pod(node.name)

    assert lab.ping_matrix().complete
    for node in lab.nodes.values():
        assert {check for check, severity in faults(node) if severity != "note"} == {
            "legacy-options"
        }
        assert vsctl(node, "get bridge br0 stp_enable") == "false"
        assert len(vsctl(node, "list-ports br0").split()) == 1
        assert not vsctl(node, "get-controller br0")
        assert (node.root / PLUGIN.lstrip("/")).read_bytes() == FROZEN_PLUGIN.read_bytes()
