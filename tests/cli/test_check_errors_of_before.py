# SPDX-License-Identifier: Apache-2.0
"""What Open vSwitch reports may be of before: `linenctl check` waits, and does no more than that.

tests/chain has the same of the plugin, which has ovs-vswitchd look once more.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from cli.conftest import only
from linen.host.node import SECOND_LOOK

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from cli.conftest import Node
    from support.host import Host

TUNNEL = "vxif10_245_2_3"
LIMIT = 20.0  # seconds for all of `linenctl check` on a busy machine


@pytest.fixture
def put_right(node: Node) -> Iterator[Node]:
    """A tunnel that is as it should be, but for the error of what it was before.

    ovs-vswitchd does not go on until it is told to.
    """
    node.host.vsctl("set", "interface", TUNNEL, "options:local_ip=flow")
    node.host.signal("STOP", "ovs-vswitchd")
    node.host.vsctl("--no-wait", "remove", "interface", TUNNEL, "options", "local_ip")
    yield node
    node.host.signal("CONT", "ovs-vswitchd")


def let_it_go_on(host: Host) -> subprocess.Popen[bytes]:
    """Let ovs-vswitchd go on as soon as a transaction waits for what it does."""
    waits = "ovs-appctl --target=ovsdb-server memory/show | grep -q triggers:"
    script = f"until {waits}; do :; done; kill -CONT $0"
    pid = host.daemon("ovs-vswitchd")
    return host.start("timeout", str(LIMIT), "sh", "-c", script, pid)


def state(host: Host) -> list[object]:
    """What is in OVSDB, and how often somebody had it looked at; not what changes by itself."""
    return [
        host.records("Open_vSwitch", "bridges", "next_cfg", "external_ids"),
        sorted(map(str, host.records("Port", "name", "interfaces", "external_ids"))),
        sorted(map(str, host.records("Interface", "name", "options", "ofport", "error"))),
    ]


def test_error_of_before(put_right: Node) -> None:
    """An error that ovs-vswitchd takes back by itself, as soon as it gets to it, is none."""
    going_on = let_it_go_on(put_right.host)
    check = put_right.host.start(*put_right.argv("check", "--json"))

    out, _ = check.communicate(timeout=LIMIT)

    assert going_on.wait(timeout=LIMIT) == 0
    found = {one["check"] for one in json.loads(out) if one["severity"] in {"error", "warning"}}
    assert (check.returncode, found) == (0, set())


def test_switch_that_does_not_look(put_right: Node) -> None:
    """Where ovs-vswitchd does not get to it in time what it has said counts."""
    begin = time.monotonic()
    finding = only(put_right, "interface-error")

    assert SECOND_LOOK < time.monotonic() - begin < LIMIT
    assert "requires 'remote_ip=flow'" in finding["what"]


def test_nothing_is_mended(node: Node) -> None:
    """A tunnel that ovs-vswitchd makes only once it is told to look is an error, and stays so.

    It has given it up, since there was another to the same node, and that has gone.
    """
    host = node.host
    marks = ("external_ids:linen-network=linen-network", "external_ids:linen-maker=plugin")
    host.vsctl(
        "add-port", "br0", "twin", "--", "set", "port", "twin", *marks, "--", "set", "interface",
        "twin", *marks, "type=vxlan", "options:remote_ip=10.245.2.3", "options:key=flow",
    )  # fmt: skip
    host.vsctl("--no-wait", "del-port", TUNNEL)
    before = state(host)

    finding = next(one for one in node.findings() if one["check"] == "interface-error")

    assert "twin" in finding["where"]
    assert "next pod's ADD has ovs-vswitchd try again" in finding["cure"]
    assert state(host) == before
    node.chain.add("other")
    assert node.faults() == []
