# SPDX-License-Identifier: Apache-2.0
"""Sockets that never block past a deadline, without the `socket` module.

This is the only file that may import `_socket`.
The sockets stay blocking and carry SO_SNDTIMEO and SO_RCVTIMEO: a `connect` then waits for a
place in the server's backlog (ovsdb-server listens with 10), where a non-blocking one would fail
at once with EAGAIN.
"""

from __future__ import annotations

import errno
import time
from _socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    SOL_SOCKET,
    inet_ntop,
    inet_pton,
    socket,
)
from _struct import pack
from select import POLLIN, poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SMALLEST_TIMEOUT = 0.001  # seconds; zero would mean "for ever" to the kernel

# Bytes to ask for: at first as many as usually come, and a lot as soon as they do not suffice. A
# large buffer is mapped and unmapped by the kernel for each call.
FEW = 1 << 14
MANY = 1 << 18


class Deadline:
    """A moment on the monotonic clock after which nobody waits any more."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())


class Stream:
    """A connected unix stream socket. Its calls raise `TimeoutError` at the deadline."""

    __slots__ = ("_deadline", "_size", "_socket")

    def __init__(self, path: str, deadline: Deadline) -> None:
        self._deadline = deadline
        self._size = FEW
        self._socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
        try:
            self._arm(SO_SNDTIMEO)
            self._socket.connect(path)
        except BlockingIOError:
            self._socket.close()
            raise TimeoutError from None
        except BaseException:
            self._socket.close()
            raise

    def _arm(self, option: int) -> None:
        """Let the next call wait until the deadline at most."""
        seconds = self._deadline.remaining()
        if seconds <= 0:
            raise TimeoutError
        whole = int(seconds)
        micro = int((max(seconds, SMALLEST_TIMEOUT) - whole) * 1_000_000)
        self._socket.setsockopt(SOL_SOCKET, option, pack("@ll", whole, micro))

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        view = memoryview(data)
        while view:
            self._arm(SO_SNDTIMEO)
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                raise TimeoutError from None

    def receive(self) -> bytes:
        """What has arrived; empty when the peer has closed."""
        self._arm(SO_RCVTIMEO)
        try:
            data = self._socket.recv(self._size)
        except BlockingIOError:
            raise TimeoutError from None
        if len(data) == self._size:
            self._size = MANY
        return data

    def close(self) -> None:
        """Close the socket; a second time does nothing."""
        self._socket.close()


def is_readable(descriptor: int, seconds: float) -> bool:
    """Whether a read of an open file would return at once, now or within `seconds`."""
    waiting = poll()
    waiting.register(descriptor, POLLIN)
    return bool(waiting.poll(int(seconds * 1000)))


def netlink_socket(protocol: int) -> socket:
    """A netlink socket for one family, e.g. 0 for routing (linux/netlink.h)."""
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)


def find_bindable(addresses: Iterable[str]) -> list[str]:
    """Those of some IP addresses that sockets can be bound to, at a fifth of a route's price each.

    Of this network namespace's own addresses none is missing; others are there where the kernel
    cannot tell, or lets sockets have any address (`net.ipv4.ip_nonlocal_bind`, ip(7)).
    """
    probes: dict[int, socket] = {}
    found = []
    for address in addresses:
        family = AF_INET6 if ":" in address else AF_INET
        try:
            if family not in probes:
                probes[family] = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)
            probes[family].bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                continue
        else:
            probes.pop(family).close()
        found.append(address)
    for probe in probes.values():
        probe.close()
    return found


def ip_bytes(text: str) -> bytes:
    """The 4 or 16 bytes of an IP address. Raises `ValueError` for anything else."""
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        raise ValueError(text) from None


def ip_text(data: bytes) -> str:
    """The usual notation of an address of 4 or 16 bytes (RFC 5952 for IPv6)."""
    return inet_ntop(AF_INET6 if len(data) == 16 else AF_INET, data)
