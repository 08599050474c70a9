# SPDX-License-Identifier: Apache-2.0
"""What is said of BFD, from what two real switches say of it through a cable's life."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linen.core.cluster import Peer
from linen.flaxd import health
from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.host import wait_until
from support.labs import fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.node import Node

OPTIONS = ("bfd:min_rx=200", "bfd:min_tx=200")


class Seen:
    """The only tunnel of one node of a lab."""

    def __init__(self, node: Node) -> None:
        self._node = node
        (self.port,) = (row["name"] for row in self._rows())

    def set_bfd(self, enable: str) -> None:
        """Turn BFD on ("true") or off ("false")."""
        options = (f"bfd:enable={enable}", *OPTIONS)
        self._node.run(["ovs-vsctl", "--timeout=10", "set", "Interface", self.port, *options])

    def health(self) -> health.PeerHealth:
        """What is said of the peer without probes."""
        (row,) = self._rows()
        peer = Peer("peer", dict(row["options"][1])["remote_ip"])
        (found,) = health.assess([peer], [row], {})
        return found

    def wait_for(self, bfd: str, state: str) -> None:
        """Return as soon as BFD and the peer have these states."""
        wait_until(lambda: (self.health().bfd, self.health().state) == (bfd, state), f"BFD {bfd}")

    def _rows(self) -> list[dict[str, Any]]:
        """The rows of the tunnel in OVSDB's notation, which is how ovs-vsctl prints JSON."""
        columns = f"--columns={','.join(health.INTERFACE_COLUMNS)}"
        command = ["ovs-vsctl", "--timeout=10", "--format=json", columns]
        text = self._node.run([*command, "find", "Interface", "type=vxlan"]).stdout
        listed = json.loads(text)
        return [dict(zip(listed["headings"], row, strict=True)) for row in listed["data"]]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two nodes with a tunnel between them."""
    with Lab.started(describe(2, name=fresh_name())) as started:
        for node in started.nodes:
            started.add_pod(node)  # which makes the tunnels
        yield started


def test_bfd_through_a_cables_life(lab: Lab) -> None:
    """Never spoken is unknown, a session is up, a cut cable or a peer that stops is down."""
    first, second = (Seen(lab.node(name)) for name in lab.nodes)
    assert (first.health().bfd, first.health().tunnel) == ("off", "present")

    first.set_bfd("true")
    first.wait_for("unknown", "unknown")
    second.set_bfd("true")
    first.wait_for("up", "up")
    second.wait_for("up", "up")

    lab.cut("node2")
    first.wait_for("down", "down")
    assert "underlay" in first.health().reason
    second.wait_for("down", "down")
    lab.heal("node2")
    first.wait_for("up", "up")

    second.set_bfd("false")
    first.wait_for("down", "down")
    assert second.health().bfd == "off"
