# SPDX-License-Identifier: Apache-2.0
"""Traffic between two pods while something happens to their nodes, and what it lost.

Our own threads make the sockets in the pods' networks, so nothing lies between a packet and
the clock. One connection lives all the time and carries a few bytes every few milliseconds; beside
it one short connection after the other asks a pod's server for its name.
"""

from __future__ import annotations

import http.client
import logging
import os
import socket
import struct
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from linen.lab import namespaces
from support.cluster.pods import HTTP_PORT
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from support.cluster.pods import Pods

    T = TypeVar("T")

log = logging.getLogger("traffic")

INTERVAL = 0.01  # seconds from one piece of the long connection to the next
PAUSE = 0.02  # seconds between two short connections
PATIENCE = 60  # seconds without a byte, after which a connection is lost
NUMBER = struct.Struct("!Q")  # what the long connection carries: 1, 2, 3…
REPEATS = struct.Struct("=100xI")  # struct tcp_info of linux/tcp.h, up to tcpi_total_retrans


class Traffic:
    """Traffic that runs. All times are in seconds.

    `pieces`: of the long connection, that have come; `repeats`: packets of it that were sent again,
    being lost or late; `calls`: short connections that were answered.
    `failures`: what went wrong, one sentence each.
    """

    def __init__(self) -> None:
        self.pieces = self.repeats = self.calls = 0
        self.longest_pause = self.longest_call = 0.0
        self.failures: list[str] = []
        self.stop = threading.Event()

    def wait_for_more(self) -> None:
        """Return when both kinds of connections have carried something from now on."""
        pieces, calls = self.pieces, self.calls

        def flows() -> bool:
            self.check()
            return self.pieces > pieces and self.calls > calls + 1

        wait_until(flows, "traffic to flow", PATIENCE)

    def check(self) -> None:
        """Fail if anything was lost by now."""
        assert not self.failures, "; ".join(self.failures)

    def send(self, connection: socket.socket) -> None:
        """Number by number, until stopped."""
        number = 0
        while not self.stop.wait(INTERVAL):
            number += 1
            connection.sendall(NUMBER.pack(number))
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, REPEATS.size)
        (self.repeats,) = REPEATS.unpack(info)
        connection.shutdown(socket.SHUT_WR)

    def receive(self, listener: socket.socket) -> None:
        """Receive all numbers, and measure the pauses between them."""
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE)
        with connection, connection.makefile("rb") as stream:
            last = time.monotonic()
            while piece := stream.read(NUMBER.size):
                (number,) = NUMBER.unpack(piece)
                assert number == self.pieces + 1, f"{number} follows {self.pieces}"
                self.pieces = number
                last, before = time.monotonic(), last
                self.longest_pause = max(self.longest_pause, last - before)
        assert self.stop.is_set(), "the long connection ended"

    def call(self, address: str, name: str) -> None:
        """Ask the pod at `address` for its name, in the network of who calls, until stopped."""
        while not self.stop.wait(PAUSE):
            begin = time.monotonic()
            answer = ask(address)
            assert answer == name, f"{name} calls itself {answer}"
            self.longest_call = max(self.longest_call, time.monotonic() - begin)
            self.calls += 1


@contextmanager
def running_traffic(pods: Pods, source: str, target: str) -> Iterator[Traffic]:
    """Traffic from one pod to another for the length of the block; fails if anything was lost."""
    traffic = Traffic()
    with ExitStack() as resources:
        here, there = (resources.enter_context(network(pods, name)) for name in (source, target))
        address = pods.addresses[target]
        listener = resources.enter_context(there.call(lambda: socket.create_server((address, 0))))
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        connection = here.call(lambda: socket.create_connection((address, port), PATIENCE))
        resources.enter_context(connection)
        threads = [
            _thread(traffic, "receive", lambda: traffic.receive(listener)),
            _thread(traffic, "send", lambda: traffic.send(connection)),
            _thread(traffic, "call", lambda: here.call(lambda: traffic.call(address, target))),
        ]
        try:
            traffic.wait_for_more()
            yield traffic
            traffic.wait_for_more()
        finally:
            traffic.stop.set()
            for thread in threads:
                thread.join(2 * PATIENCE)
    log.info(
        "%d pieces, %d packets again, longest pause %.3f s; %d connections, longest %.3f s",
        traffic.pieces,
        traffic.repeats,
        traffic.longest_pause,
        traffic.calls,
        traffic.longest_call,
    )
    traffic.check()


class Network:
    """A pod's network namespace, for as long as a block lasts."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns that is called in there; it may open sockets."""
        return namespaces.call_inside(
            lambda: namespaces.join(self._fd, namespaces.CLONE_NEWNET), function
        )


@contextmanager
def network(pods: Pods, name: str) -> Iterator[Network]:
    """A pod's network, which can be used without the API server, too."""
    fd = _open(pods.exec(name, "readlink", "/proc/self/ns/net").strip())
    try:
        yield Network(fd)
    finally:
        os.close(fd)


def ask(address: str) -> str:
    """The name of the pod at `address`, by a connection from the caller's network."""
    connection = http.client.HTTPConnection(address, HTTP_PORT, timeout=PATIENCE)
    try:
        connection.request("GET", "/hostname")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _thread(traffic: Traffic, name: str, body: Callable[[], object]) -> threading.Thread:
    """A running thread, whose errors are failures of the traffic."""

    def run() -> None:
        try:
            body()
        except (OSError, AssertionError, http.client.HTTPException) as error:
            traffic.failures.append(f"{name}: {error!r}")

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread


def _open(namespace: str) -> int:
    """A file descriptor of a network namespace, by way of some process in it."""
    for process in Path("/proc").glob("[0-9]*"):
        link = process / "ns" / "net"
        try:
            if str(link.readlink()) == namespace:
                return os.open(link, os.O_RDONLY)
        except OSError:
            continue  # it has just ended
    raise AssertionError(f"no process is in {namespace}")
