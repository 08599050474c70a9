# SPDX-License-Identifier: Apache-2.0
"""A pod asks who wants multicast, by which a Linux bridge begins to choose among its ports."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.overlays import running_overlay

if TYPE_CHECKING:
    from pathlib import Path

    from linen.lab.node import Node

ALL_NODES = "ff02::1"
MAC_OF_ALL_NODES = bytes.fromhex("333300000001")
ETHERTYPE_IPV6 = b"\x86\xdd"
HOP_BY_HOP, ICMPV6, MLD_QUERY = 0, 58, 130
ROUTER_ALERT = bytes((5, 2, 0, 0, 1, 0))  # RFC 2711, and padding


def query(mac: bytes, source: str) -> bytes:
    """A frame with a query for all members, to be answered within 1 ms (RFC 2710)."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, ALL_NODES)
    message = struct.pack("!BBHHH16s", MLD_QUERY, 0, 0, 1, 0, bytes(16))
    sums = checksum(ends + struct.pack("!II", len(message), ICMPV6) + message)
    message = message[:2] + struct.pack("!H", sums) + message[4:]
    options = bytes((ICMPV6, 0)) + ROUTER_ALERT
    header = struct.pack("!IHBB", 6 << 28, len(options) + len(message), HOP_BY_HOP, 1)
    return MAC_OF_ALL_NODES + mac + ETHERTYPE_IPV6 + header + ends + options + message


def checksum(data: bytes) -> int:
    """Of the internet (RFC 1071); `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def send_query(node: Node, pod: str) -> None:
    """Send one from a pod, and return when the node's Linux bridge has heard it."""
    (link,) = json.loads(node.run(["ip", "-j", "address", "show", "eth0"], pod=pod).stdout)
    source = next(one["local"] for one in link["addr_info"] if one["scope"] == "link")
    with node.open_pod_socket(pod, socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))

        def is_heard() -> bool:
            raw.send(query(bytes.fromhex(link["address"].replace(":", "")), source))
            return "veth" in router_ports(node)

        wait_until(is_heard, "the Linux bridge to take the pod's port for one")


def router_ports(node: Node) -> str:
    """The ports of the Linux bridge that get all multicast, as `bridge` prints them."""
    lines = node.run(["bridge", "-d", "mdb", "show", "dev", "kbr0"]).stdout.splitlines()
    return next((line for line in lines if line.startswith("router ports")), "")


@pytest.mark.parametrize("topology", ["flow", "mesh"])
def test_pods_find_each_other_all_the_same(tmp_path: Path, topology: str) -> None:
    """After a query for members of multicast groups a pod still finds those of other nodes."""
    with running_overlay(
        tmp_path, f"--topology={topology}", "--vni=7", pod_family="dual"
    ) as overlay:
        node1 = overlay.lab.node("node1")
        send_query(node1, "a")
        node1.run(["ip", "neighbour", "flush", "dev", "eth0"], pod="a")

        for other in overlay.lab.pod("b"), overlay.lab.pod("c"):
            (address,) = (one for one in other.addresses if one.version == 6)
            node1.run(["ping", "-c1", "-w30", str(address)], pod="a")
