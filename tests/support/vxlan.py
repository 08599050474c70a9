# SPDX-License-Identifier: Apache-2.0
"""VXLAN by hand: frames for pods that come past Open vSwitch, from wherever a test likes."""

from __future__ import annotations

import ipaddress
import itertools
import select
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linen.lab.node import Node
    from linen.lab.pods import Pod

PORT = 4789
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86DD  # linux/if_ether.h
# A type for local experiments (IEEE 802), which nothing else on the wire has.
ETHERTYPE = 0x88B5
EVERYBODY = b"\xff" * 6
SENDER = bytes.fromhex("0250f0f0f0f0")
DEADLINE, PAUSE = 20.0, 0.5  # seconds to wait for the last frame, and until it is sent again
ATTEMPTS = 5  # to get one frame through, on a machine that loses one now and then

_numbers = itertools.count(1)


def frame(payload: bytes) -> bytes:
    """An Ethernet frame of our type to everybody."""
    return EVERYBODY + SENDER + ETHERTYPE.to_bytes(2, "big") + payload.ljust(46, b"\0")


def vxlan(vni: int, inner: bytes) -> bytes:
    """What VXLAN puts into a UDP datagram (RFC 7348, section 5)."""
    return struct.pack("!B3xI", 8, vni << 8) + inner


def send_from(
    node: Node,
    source: str,
    target: str,
    payload: bytes,
    *,
    pod: str | None = None,
    mac: bytes | None = None,
) -> None:
    """Send a UDP datagram to the VXLAN port of `target`, as if `source` had sent it.

    It leaves a node, or a pod of that; a pod may send it to the MAC of its choice.
    """
    ends = ipaddress.ip_address(source), ipaddress.ip_address(target)
    packet = _render_packet(ends[0].packed, ends[1].packed, payload)
    is_ipv6 = ends[0].version == 6
    if mac is not None:
        assert pod is not None
        kind = socket.AF_PACKET, socket.SOCK_RAW, 0
        with node.open_pod_socket(pod, *kind) as raw:
            raw.bind(("eth0", 0))
            raw.send(mac + SENDER + (ETH_P_IPV6 if is_ipv6 else ETH_P_IP).to_bytes(2) + packet)
        return
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    kind = family, socket.SOCK_RAW, socket.IPPROTO_RAW
    if pod is None:
        raw = node.call_in_network(lambda: socket.socket(*kind))
    else:
        raw = node.open_pod_socket(pod, *kind)
    with raw:
        raw.sendto(packet, (target, 0))


def _render_packet(source: bytes, target: bytes, payload: bytes) -> bytes:
    """An IP packet with a UDP datagram to the VXLAN port (RFC 791, RFC 8200)."""
    ends = source + target
    datagram = _render_datagram(ends, payload)
    size = len(datagram)
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, size, socket.IPPROTO_UDP, 64) + ends + datagram
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP)
    return head + struct.pack("!H", _checksum(head + ends)) + ends + datagram


def _render_datagram(addresses: bytes, payload: bytes) -> bytes:
    """A UDP datagram to the VXLAN port, with the checksum that IPv6 asks for (RFC 8200, 8.1)."""
    length = 8 + len(payload)
    head = struct.pack("!HHH", 54321, PORT, length)
    pseudo = addresses + struct.pack("!II", length, socket.IPPROTO_UDP)
    total = _checksum(pseudo + head + payload + bytes(length % 2))
    return head + struct.pack("!H", total or 0xFFFF) + payload


def _checksum(data: bytes) -> int:
    """That of IP and UDP over 16-bit words (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Tap:
    """Frames that come to a pod: all of them, or those of one type. A context manager."""

    def __init__(self, pod: Pod, ethertype: int = ETH_P_ALL) -> None:
        self._raw = pod.node.open_pod_socket(
            pod.name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype)
        )
        self._raw.bind(("eth0", ethertype))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def until(self, wanted: bytes, send: Callable[[], object]) -> list[bytes]:
        """All that has come by the time that a frame with `wanted` in it has; `send` sends that.

        A busy machine loses a frame now and then, so it is sent until it comes.
        """
        found: list[bytes] = []
        deadline = time.monotonic() + DEADLINE
        self._raw.settimeout(PAUSE)
        while time.monotonic() < deadline:
            send()
            try:
                while wanted not in (data := self._raw.recv(2048)):
                    found.append(data)
            except TimeoutError:
                continue
            return found
        raise AssertionError(f"not even {wanted!r} has come")

    def count(self, seconds: float) -> int:
        """How many come in a given time."""
        end = time.monotonic() + seconds
        count = 0
        while select.select([self._raw], [], [], max(0.0, end - time.monotonic()))[0]:
            self._raw.recv(2048)
            count += 1
        return count

    def close(self) -> None:
        """Listen no longer."""
        self._raw.close()


class Listener(Tap):
    """A pod's place in the Ethernet segment, for frames of our type."""

    def __init__(self, pod: Pod) -> None:
        super().__init__(pod, ETHERTYPE)

    def send(self, data: bytes) -> None:
        """Send a frame from the pod."""
        self._raw.send(data)

    def copies(self, listeners: Sequence[Listener]) -> list[int]:
        """How many copies of a frame from the pod each of the others gets.

        A busy machine loses a frame now and then, so one that somebody has missed is followed by
        others: an overlay that loses all, or brings one twice, does so with each of these.
        """
        heard: list[Counter[bytes]] = [Counter() for _ in listeners]
        for _ in range(ATTEMPTS):
            payload = b"frame %d." % next(_numbers)
            self.send(frame(payload))
            for listener, counter in zip(listeners, heard, strict=True):
                counter.update(listener.until_end(lambda end: self.send(frame(end))))
            if all(counter[payload] for counter in heard):
                return [max(counter.values()) for counter in heard]
        return [counter[payload] for counter in heard]

    def until_end(self, send: Callable[[bytes], object]) -> list[bytes]:
        """What has come by the time that a last frame does, which `send` is called to send."""
        end = b"end %d." % next(_numbers)
        payloads = [data[14:].rstrip(b"\0") for data in self.until(end, lambda: send(end))]
        return [payload for payload in payloads if not payload.startswith(b"end")]
