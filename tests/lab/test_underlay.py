# SPDX-License-Identifier: Apache-2.0
"""The network between a lab's nodes, on which its tunnels rest."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from linen.lab.cluster import Lab
from linen.lab.description import describe
from linen.lab.switch import UNDERLAY_BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.node import Node

ARP = 0x0806
BROADCAST = b"\xff" * 6
DEADLINE, PAUSE = 20.0, 0.5  # seconds to wait for an answer, and until the question is repeated
_HEAD = struct.Struct("!HHBBH")  # Ethernet, IPv4, lengths of their addresses, operation: RFC 826


def first_answer(asker: Node, target: Node) -> str:
    """The MAC that comes first when `asker` asks who has `target`'s address."""
    own, wanted = (node.description.vtep.ip.packed for node in (asker, target))
    link: socket.socket = asker.call_in_network(
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
    )
    with link:
        asker.call_in_network(lambda: link.bind((UNDERLAY_BRIDGE, ARP)))
        link.settimeout(PAUSE)
        mac: bytes = link.getsockname()[4]
        asked = _HEAD.pack(1, 0x0800, 6, 4, 1) + mac + own + bytes(6) + wanted
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            link.send(BROADCAST + mac + ARP.to_bytes(2, "big") + asked)
            answers = (
                one for one in frames(link) if one[20:22] == b"\0\2" and one[28:32] == wanted
            )
            if first := next(answers, b""):
                return first[22:28].hex(":")
    raise AssertionError(f"{target.name} does not answer")


def frames(link: socket.socket) -> Iterator[bytes]:
    """What comes, until nothing has for a while."""
    with suppress(TimeoutError):
        while True:
            yield link.recv(2048)


def mac_of(node: Node, link: str) -> str:
    """The MAC of one of a node's links."""
    return node.run(["cat", f"/sys/class/net/{link}/address"]).stdout.strip()


def test_one_link_answers_for_a_nodes_address(lab_name: str) -> None:
    """Userspace Open vSwitch takes packets off eth0, and the kernel does not answer there as well.

    Who believed the kernel would send to eth0's own MAC, and no tunnel ends there.
    """
    with Lab.started(describe(2, name=lab_name, datapath="netdev")) as lab:
        asker, target = lab.nodes.values()
        answers = {first_answer(asker, target) for _ in range(3)}
        assert answers == {mac_of(target, UNDERLAY_BRIDGE)}
