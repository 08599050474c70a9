# SPDX-License-Identifier: Apache-2.0
"""ICMP echo of one IP version over one socket, to any number of addresses.

An unprivileged ping socket where the kernel lets this group have one
(net.ipv4.ping_group_range, also for IPv6), else a raw socket, which takes CAP_NET_RAW.
The kernel stamps each reply with the time of its arrival, so it does not matter for the latency
how much later it is read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    Version = Literal[4, 6]

HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence (RFC 792, RFC 4443)
TIMESPEC = struct.Struct("@ll")
LARGEST = 512  # bytes of a reply that are looked at: IP options included, ours is never longer

# Packets of one look: more than a socket holds by default (net.core.rmem_default, 768 bytes each),
# and no more at once, however fast a pod sends them.
MOST = 400

# asm-generic/socket.h (SO_TIMESTAMPNS_OLD), linux/icmp.h, linux/icmpv6.h
SO_TIMESTAMPNS = 35
SOL_RAW, ICMP_FILTER = 255, 1
ICMPV6_FILTER = 1


@dataclass(frozen=True, slots=True)
class _Protocol:
    """What differs between the versions."""

    family: socket.AddressFamily
    number: int
    request: int
    reply: int


PROTOCOLS: dict[Version, _Protocol] = {
    4: _Protocol(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    6: _Protocol(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An echo reply. `received`: nanoseconds of CLOCK_REALTIME."""

    address: str
    payload: bytes
    received: int


class NotAllowed(Exception):
    """The kernel gives this process no socket for ICMP."""


def version_of(address: str) -> Version:
    """The IP version of an address."""
    return 6 if ":" in address else 4


class EchoSocket:
    """Sends from the address `source`.

    Raises `NotAllowed`, or `OSError` (EADDRNOTAVAIL where this host has no such address).
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._version = version_of(source)
        self._protocol = PROTOCOLS[self._version]
        self._socket, self._is_raw = _open(self._version)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            # The overlay is on-link. Where it is not there, a probe must not take the default
            # route out of the host.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
            self._socket.bind((source, 0))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def send(self, address: str, payload: bytes) -> None:
        """Send an echo request. Raises `OSError`."""
        # The kernel fills in a ping socket's identifier, and all checksums but one. Replies are
        # told apart by their payload, so that a raw socket needs no identifier of its own.
        header = HEADER.pack(self._protocol.request, 0, 0, 0, 0)
        if self._is_raw and self._version == 4:
            checksum = internet_checksum(header + payload)
            header = HEADER.pack(self._protocol.request, 0, checksum, 0, 0)
        self._socket.sendto(header + payload, (address, 0))

    def replies(self) -> Iterator[Reply]:
        """The replies that have come until now, those of `MOST` packets at most."""
        for _ in range(MOST):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(LARGEST, 64)
            except BlockingIOError:
                return
            if self._is_raw and self._version == 4:
                data = data[(data[0] & 0x0F) * 4 :]  # the IP header
            received = _timestamp(ancillary)
            if len(data) < HEADER.size or data[0] != self._protocol.reply or received is None:
                continue
            yield Reply(sender[0], data[HEADER.size :], received)


def _open(version: Version) -> tuple[socket.socket, bool]:
    """A socket for ICMP, and whether it is a raw one."""
    protocol = PROTOCOLS[version]
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with contextlib.suppress(PermissionError):
        kind = socket.SOCK_DGRAM | flags
        return socket.socket(protocol.family, kind, protocol.number), False
    try:
        raw = socket.socket(protocol.family, socket.SOCK_RAW | flags, protocol.number)
    except PermissionError:
        raise NotAllowed(
            "no socket for ICMP: neither is the daemon's group in the sysctl"
            " net.ipv4.ping_group_range, nor has it CAP_NET_RAW"
        ) from None
    _accept_replies_only(raw, version)
    return raw, True


def _accept_replies_only(raw: socket.socket, version: Version) -> None:
    """Drop in the kernel what is no echo reply: a set bit stands for a type that is dropped."""
    reply = PROTOCOLS[version].reply
    if version == 4:
        raw.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << reply)))
    else:
        words = [0xFFFFFFFF] * 8
        words[reply >> 5] &= ~(1 << (reply & 31))
        raw.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, struct.pack("=8I", *words))


def _timestamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None


def internet_checksum(data: bytes) -> int:
    """The checksum of RFC 1071."""
    words = struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2])
    total: int = sum(words)
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
