# SPDX-License-Identifier: Apache-2.0
"""When rules were there, as Open vSwitch's own flow monitor tells it.

A witness is a thread with an OpenFlow connection of its own that counts an OVS bridge's rules for
peers (OpenFlow Switch Specification 1.4.0, section 7.3.5.18). It connects as soon as the bridge's
socket is there, and again when ovs-vswitchd was restarted. What is measured does not know of it,
but ovs-vswitchd has to tell everything twice, so it is rather slower than without.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

from bench.witness import NotSeen, sockets_of
from linen.core import flows
from linen.openflow import wire

if TYPE_CHECKING:
    from collections.abc import Callable

# The rules of one peer with IPv4 alone, and by what they are known (docs/design/openflow.md).
OF_A_PEER, PRIORITIES = 3, {flows.ASK, flows.PEER}

CHANGES = {wire.INITIAL: 1, wire.ADDED: 1, wire.REMOVED: -1}
PAUSE = 0.001  # seconds between attempts to connect
PIECE = 1 << 20  # bytes
PATIENCE = 0.2  # seconds without news after which it looks whether it is still wanted
_EVENT = struct.Struct("!HH")  # length, event
_RULE = struct.Struct("!6xH")  # what follows if it tells of a rule: priority


class RuleWitness:
    """Sees the rules of the OVS bridge `name` on a host, as a context manager.

    `pid`: a process of the host.
    """

    def __init__(self, pid: int, name: str = "br0") -> None:
        self._path = str(sockets_of(pid) / f"{name}.mgmt")
        self._count = 0
        self._changed_at = 0.0
        self._connected_at = 0.0
        self._failure: Exception | None = None  # why it watches no longer
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._ended.set()
        self._thread.join()

    def wait_for_peers(self, number: int, seconds: float) -> float:
        """When there were the rules of so many peers, no more and no less.

        On time.perf_counter's clock. Raises `NotSeen` after `seconds`.
        """
        wanted = OF_A_PEER * number
        self._wait(lambda: self._count == wanted, f"{wanted} rules for peers", seconds)
        return self._changed_at

    def wait_for_socket(self, since: float, seconds: float) -> float:
        """When the bridge's socket took a connection, for the first time after `since`."""
        self._wait(lambda: self._connected_at > since, self._path, seconds)
        return self._connected_at

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        with self._news:
            done = self._news.wait_for(lambda: self._failure or condition(), seconds)
            if self._failure is not None:
                raise self._failure
            if not done:
                raise NotSeen(f"no {what} after {seconds} s; there are {self._count} rules")

    def _follow(self) -> None:
        try:
            self._connect_for_ever()
        except Exception as failure:  # noqa: BLE001  (who waits is to know)
            with self._news:
                self._failure = failure
                self._news.notify_all()

    def _connect_for_ever(self) -> None:
        while not self._ended.wait(PAUSE):
            # No bridge yet, one whose ovs-vswitchd has ended, or one that ends just now.
            with (
                contextlib.suppress(FileNotFoundError, ConnectionError),
                socket.socket(socket.AF_UNIX) as connection,
            ):
                connection.connect(self._path)
                self._watch(connection)

    def _watch(self, connection: socket.socket) -> None:
        """Count until the connection ends, or nobody wants to know any more."""
        with self._news:
            self._connected_at = time.perf_counter()
            self._news.notify_all()
        try:
            connection.settimeout(PATIENCE)
            connection.sendall(wire.hello(1) + wire.monitor(2))
            self._count_all(connection)
        finally:
            self._count_rules(-self._count, time.perf_counter())

    def _count_all(self, connection: socket.socket) -> None:
        inbox = wire.Inbox()
        while not self._ended.is_set():
            try:
                data = connection.recv(PIECE)
            except TimeoutError:
                continue
            if not data:
                return
            now = time.perf_counter()
            messages = list(inbox.feed(data))
            self._count_rules(sum(map(growth, messages)), now)
            for message in messages:
                if message.type == wire.ECHO_REQUEST:
                    echo = wire.message(wire.ECHO_REPLY, message.transaction, message.body)
                    connection.sendall(echo)

    def _count_rules(self, growth: int, now: float) -> None:
        if growth:
            with self._news:
                self._count += growth
                self._changed_at = now
                self._news.notify_all()


def growth(message: wire.Message) -> int:
    """How many more rules for peers there are by what a message tells.

    It is looked at no closer than that: thirty thousand rules are told in a tenth of a second.
    """
    if message.type == wire.ERROR:
        raise NotSeen(f"a bridge that tells no rules: {wire.error(message.body)}")
    if message.type != wire.MULTIPART_REPLY:
        return 0
    found, start = 0, 8  # behind the head of the multipart reply
    while start < len(message.body):
        length, event = _EVENT.unpack_from(message.body, start)
        if event in CHANGES:
            (priority,) = _RULE.unpack_from(message.body, start + _EVENT.size)
            found += CHANGES[event] * (priority in PRIORITIES)
        start += length
    return found
