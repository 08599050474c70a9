# SPDX-License-Identifier: Apache-2.0
"""Echo requests from every pod to every other.

No `ping` processes: one raw socket per pod, opened in the pod's network namespace, and one loop
over all of them.
First all pairs are asked at the same time, again and again, until each has answered or the
deadline has passed: what stays unanswered is lost.
Then each pair is timed while no other is, so that the times are those of the path and not those
of the crowd.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.lab.pods import Pod

# Seconds for the whole matrix. An OVS bridge whose OpenFlow controller is not there forwards
# nothing for its first 15 s (three inactivity probes), even in fail mode standalone.
DEADLINE = 25.0
_AGAIN_AFTER = 0.2  # seconds without an answer
_ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number: RFC 792
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_IDENTIFIER = 0x4C4E


@dataclass
class _Pair:
    """One direction between two pods.

    `sent_at` is on the monotonic clock, `seconds` the latest round trip; None without an answer.
    """

    target: str
    sent_at: float = 0.0
    sequence: int = 0
    answered: int = 0  # the sequence number of the latest answer
    seconds: float | None = None


@dataclass(frozen=True)
class PingMatrix:
    """Round-trip times in seconds by (from, to); None where no answer came."""

    pods: tuple[str, ...]
    times: dict[tuple[str, str], float | None]

    @property
    def losses(self) -> list[tuple[str, str]]:
        """The pairs that got no answer."""
        return [pair for pair, seconds in self.times.items() if seconds is None]

    @property
    def complete(self) -> bool:
        """Whether every pod reaches every other."""
        return not self.losses


def ping_all(pods: Sequence[Pod], deadline: float = DEADLINE) -> PingMatrix:
    """Ping the first IPv4 address of each pod from each other pod, for at most `deadline` s."""
    addresses = {pod.name: _first_address(pod) for pod in pods}
    sources = [_Source(pod, addresses) for pod in pods]
    try:
        end = time.monotonic() + deadline
        _reach(sources, end)
        _measure(sources, end)
    finally:
        for source in sources:
            source.socket.close()
    return PingMatrix(
        pods=tuple(addresses),
        times={
            (source.name, target): pair.seconds
            for source in sources
            for target, pair in source.pairs.items()
        },
    )


class _Source:
    """A pod that pings all the others."""

    def __init__(self, pod: Pod, addresses: dict[str, str]) -> None:
        self.name = pod.name
        self.socket = pod.node.open_pod_socket(
            pod.name, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP
        )
        self.socket.setblocking(False)
        self.pairs = {
            name: _Pair(address) for name, address in addresses.items() if name != pod.name
        }
        self._by_address = {pair.target: pair for pair in self.pairs.values()}

    @property
    def done(self) -> bool:
        return all(pair.seconds is not None for pair in self.pairs.values())

    def ask_again(self) -> None:
        """Send to each pair that has not answered for a while."""
        now = time.monotonic()
        for pair in self.pairs.values():
            if pair.seconds is None and pair.target and now - pair.sent_at >= _AGAIN_AFTER:
                self.send(pair)

    def send(self, pair: _Pair) -> None:
        """Send one echo request."""
        pair.sequence = (pair.sequence + 1) & 0xFFFF
        pair.sent_at = time.monotonic()
        # No route, or an unresolved neighbour, is an answer that does not come.
        with contextlib.suppress(OSError):
            self.socket.sendto(_render_echo_request(pair.sequence), (pair.target, 0))

    def receive(self) -> None:
        """Take one packet; if it answers what was asked last, note the time."""
        packet, (address, _) = self.socket.recvfrom(2048)
        now = time.monotonic()
        header_length = (packet[0] & 0x0F) * 4  # RFC 791: in 32-bit words
        kind, _, _, identifier, sequence = _ECHO.unpack_from(packet, header_length)
        pair = self._by_address.get(address)
        if pair is None or (kind, identifier) != (_ECHO_REPLY, _IDENTIFIER):
            return
        if sequence == pair.sequence:
            pair.answered = sequence
            pair.seconds = now - pair.sent_at


def _reach(sources: list[_Source], end: float) -> None:
    """Ask all pairs until all have answered, at the latest until `end`."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source.socket, selectors.EVENT_READ, source)
        next_round = 0.0
        while (now := time.monotonic()) < end and not all(source.done for source in sources):
            if now >= next_round:
                _ask_again(sources)
                next_round = now + _AGAIN_AFTER / 4
            for key, _ in selector.select(max(0.0, min(next_round, end) - now)):
                key.data.receive()


def _measure(sources: list[_Source], end: float) -> None:
    """Time each pair that answers once more, one after the other, while there is time."""
    for source in sources:
        for pair in source.pairs.values():
            if pair.seconds is not None and time.monotonic() < end:
                _measure_pair(source, pair)


def _measure_pair(source: _Source, pair: _Pair) -> None:
    source.send(pair)
    end = pair.sent_at + _AGAIN_AFTER
    while pair.answered != pair.sequence and (left := end - time.monotonic()) > 0:
        readable, _, _ = select.select([source.socket], [], [], left)
        if readable:
            source.receive()


def _ask_again(sources: list[_Source]) -> None:
    for source in sources:
        source.ask_again()


def _render_echo_request(sequence: int) -> bytes:
    header = _ECHO.pack(_ECHO_REQUEST, 0, 0, _IDENTIFIER, sequence)
    total = sum(struct.unpack("!4H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return _ECHO.pack(_ECHO_REQUEST, 0, ~total & 0xFFFF, _IDENTIFIER, sequence)


def _first_address(pod: Pod) -> str:
    """Give the pod's first IPv4 address; empty if it has none, so that nothing reaches it."""
    return next((str(address) for address in pod.addresses if address.version == 4), "")
