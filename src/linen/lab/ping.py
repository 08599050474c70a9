# SPDX-License-Identifier: Apache-2.0
"""Echo requests from every pod to every other, over each IP version that both have.

No `ping` processes: one raw socket per pod and IP version, opened in the pod's network namespace,
and one loop over all of them.
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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.lab.pods import Pod

# Seconds for the whole matrix. An OVS bridge whose OpenFlow controller is not there forwards
# nothing for its first 15 s (three inactivity probes), even in fail mode standalone.
DEADLINE = 25.0
_AGAIN_AFTER = 0.2  # seconds without an answer
# Type, code, checksum, identifier, sequence number: RFC 792, and RFC 4443, section 4.
_ECHO = struct.Struct("!BBHHH")
_IDENTIFIER = 0x4C4E


@dataclass(frozen=True)
class _Protocol:
    """How an IP version asks for an echo."""

    family: int
    number: int
    request: int
    reply: int


_PROTOCOLS = {
    4: _Protocol(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    6: _Protocol(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}


@dataclass
class _Pair:
    """One direction between two pods, over one IP version.

    `target` is a pod, `address` its own, empty where it has none that the source could ask.
    `sent_at` is on the monotonic clock, `seconds` the latest round trip; None without an answer.
    """

    target: str
    version: int
    address: str
    sent_at: float = 0.0
    sequence: int = 0
    answered: int = 0  # the sequence number of the latest answer
    seconds: float | None = None


@dataclass(frozen=True)
class PingMatrix:
    """Round-trip times in seconds by (from, to); None where no answer came.

    Between pods with both IP versions that is the slower one, and None if either is lost. `silent`:
    the addresses that did not answer where others of the same pod did.
    """

    pods: tuple[str, ...]
    times: dict[tuple[str, str], float | None]
    silent: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @property
    def losses(self) -> list[tuple[str, str]]:
        """The pairs that got no answer."""
        return [pair for pair, seconds in self.times.items() if seconds is None]

    @property
    def complete(self) -> bool:
        """Whether every pod reaches every other."""
        return not self.losses


def ping_all(pods: Sequence[Pod], deadline: float = DEADLINE) -> PingMatrix:
    """Ping each pod from each other pod, for at most `deadline` s.

    The first address of each IP version is asked by the pods that have one of that version, too.
    """
    addresses = {pod.name: _first_addresses(pod) for pod in pods}
    sources = [_Source(pod, addresses) for pod in pods]
    try:
        end = time.monotonic() + deadline
        _reach(sources, end)
        _measure(sources, end)
    finally:
        for source in sources:
            source.close()
    by_name = {source.name: source for source in sources}
    names = [(one, other) for one in by_name for other in by_name if one != other]
    found = {(one, other): by_name[one].pairs_to(other) for one, other in names}
    return PingMatrix(
        pods=tuple(by_name),
        times={names: _slowest(pairs) for names, pairs in found.items()},
        silent={
            names: tuple(pair.address for pair in pairs if pair.seconds is None)
            for names, pairs in found.items()
            if len({pair.seconds is None for pair in pairs}) > 1
        },
    )


def _slowest(pairs: list[_Pair]) -> float | None:
    times = [pair.seconds for pair in pairs if pair.seconds is not None]
    return max(times) if len(times) == len(pairs) else None


class _Source:
    """A pod that pings all the others."""

    def __init__(self, pod: Pod, addresses: dict[str, dict[int, str]]) -> None:
        self.name = pod.name
        own = addresses[pod.name]
        self.pairs: list[_Pair] = []
        for name, theirs in addresses.items():
            if name != pod.name:
                common = [_Pair(name, v, theirs[v]) for v in own if v in theirs]
                self.pairs += common or [_Pair(name, 0, "")]
        self._by_address = {pair.address: pair for pair in self.pairs}
        self.sockets = {version: _open_socket(pod, version) for version in own}

    @property
    def done(self) -> bool:
        return all(pair.seconds is not None for pair in self.pairs)

    def pairs_to(self, target: str) -> list[_Pair]:
        """What is asked of one other pod."""
        return [pair for pair in self.pairs if pair.target == target]

    def close(self) -> None:
        """Ask no more."""
        for one in self.sockets.values():
            one.close()

    def ask_again(self) -> None:
        """Send to each pair that has not answered for a while."""
        now = time.monotonic()
        for pair in self.pairs:
            if pair.seconds is None and pair.address and now - pair.sent_at >= _AGAIN_AFTER:
                self.send(pair)

    def send(self, pair: _Pair) -> None:
        """Send one echo request."""
        pair.sequence = (pair.sequence + 1) & 0xFFFF
        pair.sent_at = time.monotonic()
        request = _render_echo_request(pair.sequence, pair.version)
        # No route, or an unresolved neighbour, is an answer that does not come.
        with contextlib.suppress(OSError):
            self.sockets[pair.version].sendto(request, (pair.address, 0))

    def receive(self, version: int) -> None:
        """Take one packet; if it answers what was asked last, note the time."""
        packet, (address, *_) = self.sockets[version].recvfrom(2048)
        now = time.monotonic()
        # RFC 791: in 32-bit words. Of IPv6 no header comes along (RFC 3542, section 3).
        header_length = (packet[0] & 0x0F) * 4 if version == 4 else 0
        kind, _, _, identifier, sequence = _ECHO.unpack_from(packet, header_length)
        pair = self._by_address.get(address)
        if pair is None or (kind, identifier) != (_PROTOCOLS[version].reply, _IDENTIFIER):
            return
        if sequence == pair.sequence:
            pair.answered = sequence
            pair.seconds = now - pair.sent_at


def _open_socket(pod: Pod, version: int) -> socket.socket:
    protocol = _PROTOCOLS[version]
    raw = pod.node.open_pod_socket(pod.name, protocol.family, socket.SOCK_RAW, protocol.number)
    raw.setblocking(False)
    return raw


def _reach(sources: list[_Source], end: float) -> None:
    """Ask all pairs until all have answered, at the latest until `end`."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            for version, raw in source.sockets.items():
                selector.register(raw, selectors.EVENT_READ, (source, version))
        next_round = 0.0
        while (now := time.monotonic()) < end and not all(source.done for source in sources):
            if now >= next_round:
                _ask_again(sources)
                next_round = now + _AGAIN_AFTER / 4
            for key, _ in selector.select(max(0.0, min(next_round, end) - now)):
                source, version = key.data
                source.receive(version)


def _measure(sources: list[_Source], end: float) -> None:
    """Time each pair that answers once more, one after the other, while there is time."""
    for source in sources:
        for pair in source.pairs:
            if pair.seconds is not None and time.monotonic() < end:
                _measure_pair(source, pair)


def _measure_pair(source: _Source, pair: _Pair) -> None:
    source.send(pair)
    end = pair.sent_at + _AGAIN_AFTER
    while pair.answered != pair.sequence and (left := end - time.monotonic()) > 0:
        readable, _, _ = select.select([source.sockets[pair.version]], [], [], left)
        if readable:
            source.receive(pair.version)


def _ask_again(sources: list[_Source]) -> None:
    for source in sources:
        source.ask_again()


def _render_echo_request(sequence: int, version: int = 4) -> bytes:
    """Render a request; over IPv6 the kernel fills in the checksum (RFC 3542, section 3.1)."""
    header = _ECHO.pack(_PROTOCOLS[version].request, 0, 0, _IDENTIFIER, sequence)
    total = sum(struct.unpack("!4H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return _ECHO.pack(_PROTOCOLS[version].request, 0, ~total & 0xFFFF, _IDENTIFIER, sequence)


def _first_addresses(pod: Pod) -> dict[int, str]:
    """Give the pod's first address of each IP version that it has."""
    found: dict[int, str] = {}
    for address in pod.addresses:
        found.setdefault(address.version, str(address))
    return found
