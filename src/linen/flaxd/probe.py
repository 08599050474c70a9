# SPDX-License-Identifier: Apache-2.0
"""Latency and loss from node to node over the overlay, by ICMP echo to the peers' gateways.

Each address is asked once per interval, all of them spread over it, in an order that each node
has for itself. One socket per IP version serves all peers, and no reply wakes the daemon: replies
wait in the socket, with the kernel's time stamp, until the next request is due.
A gateway exists from its node's first pod on, so an address that has never answered says nothing
yet, and a node without a pod of its own cannot ask.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from linen.flaxd import icmp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from linen.flaxd.icmp import Version

log = logging.getLogger("flaxd.probe")

WINDOW = 20  # results that are kept for each address
TIMEOUT = 1.0  # seconds
# Requests that are due at about the same time leave together: to wake up costs more than to send.
BATCH, LONGEST_TICK = 10, 1.0  # requests, seconds
MOST = 100  # requests a second, so that thousands of peers cost no more than a thousand
UNREACHABLE_AFTER = 3  # losses in a row
TOLERATED = 1  # losses in a window that are nobody's fault

# Verdicts, the best first.
OK, SILENT, LOSS, UNREACHABLE = "ok", "silent", "loss", "unreachable"
VERDICTS = (OK, SILENT, LOSS, UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Result:
    """What the last probes of one address tell; latencies in seconds, of those that answered.

    `sent`: those that were answered or given up. `verdict`: `silent` where no probe was ever
    answered, `unreachable` where the last few were not.
    """

    address: str
    verdict: str
    sent: int
    lost: int
    last: float | None
    minimum: float | None
    average: float | None
    maximum: float | None

    @property
    def loss(self) -> float:
        """The share that was lost, from 0 to 1."""
        return self.lost / self.sent if self.sent else 0.0


class _Target(NamedTuple):
    peer: str
    address: str


class _Request(NamedTuple):
    target: _Target
    sent: int  # ns, CLOCK_REALTIME as the kernel's time stamps
    deadline: float  # s, the loop's clock


class _Window:
    """The last results of one address: seconds, or None for a loss."""

    def __init__(self) -> None:
        self.latencies: deque[float | None] = deque(maxlen=WINDOW)
        self.verdict = SILENT
        self._has_answered = False
        self._losses_in_a_row = 0

    def add(self, latency: float | None) -> bool:
        """Take a result in; whether the verdict is another now."""
        self.latencies.append(latency)
        if latency is None:
            self._losses_in_a_row += 1
        else:
            self._losses_in_a_row, self._has_answered = 0, True
        before, self.verdict = self.verdict, self._judge()
        return before != self.verdict

    @property
    def tells(self) -> bool:
        """Whether there is something to tell: after `forget` one or two losses say nothing."""
        return bool(self.latencies) and not (self.verdict == SILENT and self._has_answered)

    def forget(self) -> None:
        """Drop the results, for nobody can tell how it is now; whether it ever answered is kept."""
        self.latencies.clear()
        self._losses_in_a_row = 0
        self.verdict = SILENT

    def _judge(self) -> str:
        if self._has_answered and self._losses_in_a_row >= UNREACHABLE_AFTER:
            return UNREACHABLE
        if self._losses_in_a_row >= len(self.latencies):
            return SILENT
        return LOSS if self.latencies.count(None) > TOLERATED else OK

    def result(self, address: str) -> Result:
        answered = [latency for latency in self.latencies if latency is not None]
        return Result(
            address=address,
            verdict=self.verdict,
            sent=len(self.latencies),
            lost=len(self.latencies) - len(answered),
            last=answered[-1] if answered else None,
            minimum=min(answered, default=None),
            average=sum(answered) / len(answered) if answered else None,
            maximum=max(answered, default=None),
        )


class Probe:
    """Asks each address once per `interval` seconds, while `run` runs; 0: never.

    More than `MOST` times `interval` addresses take longer.

    `targets`: for each peer the addresses to ask, read again for each round.
    `sources`: this node's own gateways, one for each IP version at most, to ask from.
    `on_change`: called with the peers of which a verdict has become another.
    """

    def __init__(
        self,
        interval: float,
        targets: Callable[[], Mapping[str, Iterable[str]]],
        sources: Callable[[], Sequence[str]],
        on_change: Callable[[set[str]], None],
    ) -> None:
        self.interval = interval
        self.sent = 0  # requests since the start
        self.lost = 0  # those of them that were not answered in time
        self._targets = targets
        self._sources = sources
        self._on_change = on_change
        self._problems: dict[Version, str] = {}
        self._failures: dict[Version, str] = {}  # of this round, to send
        self._sockets: dict[Version, icmp.EchoSocket] = {}
        self._windows: dict[_Target, _Window] = {}
        self._of_peers: dict[str, list[_Target]] = {}  # the targets of `_windows`
        self._pending: dict[int, _Request] = {}  # by number, so the oldest first
        self._tick = LONGEST_TICK  # seconds that a request may be early or late, in all
        self._key = secrets.token_bytes(8)

    @property
    def problem(self) -> str:
        """Why there are no probes, or not of both IP versions; empty where nothing is wrong."""
        if not self.interval:
            return "switched off: probe-interval is 0"
        problems = sorted(self._problems.items())
        return "; ".join(f"IPv{version}: {problem}" for version, problem in problems)

    def results(self, peers: Iterable[str]) -> dict[str, list[Result]]:
        """For each of these peers that could be asked the results of its addresses."""
        found: dict[str, list[Result]] = {}
        for peer in peers:
            for target in self._of_peers.get(peer, ()):
                window = self._windows[target]
                if window.tells:
                    found.setdefault(peer, []).append(window.result(target.address))
        return found

    def forget(self, peer: str) -> None:
        """Drop a peer's results: something has happened since, and the next ones will tell."""
        for target in self._of_peers.get(peer, ()):
            self._windows[target].forget()

    async def run(self) -> None:
        """Probe until cancelled; return at once where probes are switched off."""
        if not self.interval:
            return
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            while True:
                start += await self._round(start)
                if clock() - start > self.interval:  # a suspended host catches nothing up
                    start = clock()
        finally:
            for version in list(self._sockets):
                self._sockets.pop(version).close()

    async def _round(self, start: float) -> float:
        """Ask every address once, each at a random moment of its own slot; seconds it took."""
        targets = self._prepare()
        length = round_length(self.interval, len(targets))
        slot = length / max(len(targets), 1)
        self._tick = min(BATCH * slot, length / 4, LONGEST_TICK)
        for place, target in enumerate(targets):
            due = start + slot * (place + random.random())  # noqa: S311  (spreads load)
            await self._receive_until(due - self._tick / 2)
            self._send(target)
        await self._receive_until(start + length)
        return length

    def _prepare(self) -> list[_Target]:
        """The addresses that can be asked, in this round's order; peers that left are forgotten."""
        wanted = {
            _Target(peer, address)
            for peer, addresses in self._targets().items()
            for address in addresses
        }
        self._open({icmp.version_of(target.address) for target in wanted})
        # Text is hashed with a secret of the process: each node has an order of its own, which
        # stays the same, so that nobody is asked by all at once.
        ordered = sorted(wanted, key=hash)
        self._windows = {target: self._windows.get(target) or _Window() for target in ordered}
        self._of_peers = {}
        for target in ordered:
            self._of_peers.setdefault(target.peer, []).append(target)
        for target, window in self._windows.items():
            if icmp.version_of(target.address) not in self._sockets:
                window.forget()
        return [t for t in ordered if icmp.version_of(t.address) in self._sockets]

    def _open(self, versions: Collection[Version]) -> None:
        """Have sockets for just these IP versions, bound to the addresses that are ours now."""
        sources = {icmp.version_of(source): source for source in self._sources()}
        problems: dict[Version, str] = {}
        for version, echo in list(self._sockets.items()):
            if version not in versions or echo.source != sources.get(version):
                self._sockets.pop(version).close()
        for version in versions:
            if version in self._sockets:
                problem = self._failures.get(version, "")
            else:
                problem = self._try_to_open(version, sources.get(version))
            if problem:
                problems[version] = problem
        self._failures = {}
        self._tell(problems)

    def _try_to_open(self, version: Version, source: str | None) -> str:
        """Open a socket; why that can't be done, or nothing."""
        if source is None:
            return f"this node has no IPv{version} range of pods"
        try:
            self._sockets[version] = icmp.EchoSocket(source)
        except icmp.NotAllowed as error:
            return str(error)
        except OSError as error:
            return (
                f"cannot send from {source}, which the Linux bridge gets with this node's first"
                f" pod: {error.strerror}"
            )
        return ""

    def _tell(self, problems: dict[Version, str]) -> None:
        """Log what has changed since the last round."""
        for version in sorted(problems.keys() | self._problems.keys()):
            now, before = problems.get(version), self._problems.get(version)
            if now and now != before:
                log.info("no probes over IPv%s: %s", version, now)
            elif not now:
                log.info("probes over IPv%s again", version)
        self._problems = problems

    def _send(self, target: _Target) -> None:
        version = icmp.version_of(target.address)
        number = self.sent + 1
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        request = _Request(target, time.time_ns(), deadline)
        try:
            self._sockets[version].send(target.address, self._key + number.to_bytes(8))
        except OSError as error:
            # A fault of this node and not of the peer, of which nothing is known any more.
            self._failures[version] = f"cannot ask {target.address}: {error.strerror}"
            self._windows[target].forget()
            return
        self.sent = number
        self._pending[number] = request

    async def _receive_until(self, moment: float) -> None:
        """Return at `moment`, and take in meanwhile what has come or failed to come in time."""
        clock = asyncio.get_running_loop().time
        while (now := clock()) < moment:
            oldest = next(iter(self._pending.values()), None)
            awake = min(moment, oldest.deadline) if oldest else moment
            await asyncio.sleep(max(awake - now, self._tick))
            changed = self._take_replies() | self._give_up(clock())
            if changed:
                self._on_change(changed)

    def _take_replies(self) -> set[str]:
        """Take replies in; the peers of which a verdict changed."""
        changed: set[str] = set()
        for echo in self._sockets.values():
            for reply in echo.replies():
                key, number = reply.payload[:8], int.from_bytes(reply.payload[8:16])
                request = self._pending.get(number)
                if key != self._key or request is None or request.target.address != reply.address:
                    continue
                del self._pending[number]
                latency = (reply.received - request.sent) / 1e9
                # A negative one means that the clock was set meanwhile: count it as instant.
                in_time = latency <= TIMEOUT
                if self._record(request, max(latency, 0.0) if in_time else None):
                    changed.add(request.target.peer)
        return changed

    def _give_up(self, now: float) -> set[str]:
        """Count the requests whose time is over as lost; the peers of which a verdict changed."""
        overdue = []
        for number, request in self._pending.items():
            if request.deadline > now:
                break
            overdue.append(number)
        requests = [self._pending.pop(number) for number in overdue]
        return {request.target.peer for request in requests if self._record(request, None)}

    def _record(self, request: _Request, latency: float | None) -> bool:
        self.lost += latency is None
        window = self._windows.get(request.target)
        return window.add(latency) if window is not None else False


def round_length(interval: float, targets: int) -> float:
    """Seconds in which each of so many addresses is asked once."""
    return max(interval, targets / MOST)
