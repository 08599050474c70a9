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
ETH_P_ALL = 3  # linux/if_ether.h
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
    node: Node, source: str, target: str, payload: bytes, *, pod: str | None = None
) -> None:
    """Send a UDP datagram to the VXLAN port of `target`, as if `source` had sent it.

    It leaves a node, or a pod of that.
    """
    ends = ipaddress.ip_address(source), ipaddress.ip_address(target)
    datagram = _render_datagram(ends[0].packed + ends[1].packed, payload)
    if ends[0].version == 6:
        family = socket.AF_INET6
        headers = struct.pack("!IHBB", 6 << 28, len(datagram), socket.IPPROTO_UDP, 64)
    else:  # the kernel fills in the length and the checksum
        family = socket.AF_INET
        headers = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
    kind = family, socket.SOCK_RAW, socket.IPPROTO_RAW
    if pod is None:
        raw = node.call_in_network(lambda: socket.socket(*kind))
    else:
        raw = node.open_pod_socket(pod, *kind)
    with raw:
        raw.sendto(headers + ends[0].packed + ends[1].packed + datagram, (target, 0))


def _render_datagram(addresses: bytes, payload: bytes) -> bytes:
    """A UDP datagram to the VXLAN port, with the checksum that IPv6 asks for (RFC 8200, 8.1)."""
    length = 8 + len(payload)
    head = struct.pack("!HHH", 54321, PORT, length)
    pseudo = addresses + struct.pack("!II", length, socket.IPPROTO_UDP)
    summed = pseudo + head + payload + bytes(length % 2)
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head + struct.pack("!H", total ^ 0xFFFF or 0xFFFF) + payload


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
