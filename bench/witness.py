# SPDX-License-Identifier: Apache-2.0
"""When a tunnel was there, as OVSDB's own notifications tell it.

A witness is a thread with a connection of its own that monitors a host's interfaces (RFC 7047,
section 4.1.5). A tunnel is there when ovs-vswitchd has given it a number on its bridge, `ofport`.
Nothing is polled, and what is measured does not know of it.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Self

from linen.ovsdb import wire
from support.host import OVSDB_SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linen.light.json import Json
    from support.host import Host

PIECE = 1 << 16  # bytes
COLUMNS = ["options", "ofport", "type"]


class NotSeen(Exception):
    """A tunnel that was waited for did not come in time."""


class Witness:
    """Sees the tunnels of one host, as a context manager."""

    def __init__(self, host: Host) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(f"/proc/{host.pid}/root{OVSDB_SOCKET.removeprefix('/var')}")
        self._seen: dict[str, float] = {}  # remote address: when its tunnel was there
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        """Begin to watch."""
        monitored = {"Interface": {"columns": COLUMNS}}
        self._socket.sendall(wire.request(1, "monitor", [wire.DATABASE, None, monitored]))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def wait_for(self, addresses: Iterable[str], seconds: float) -> float:
        """When there was a tunnel to the last of these addresses, on time.perf_counter's clock.

        Raises `NotSeen` after `seconds`.
        """
        wanted = set(addresses)
        with self._news:
            if not self._news.wait_for(lambda: wanted <= self._seen.keys(), seconds):
                missing = sorted(wanted - self._seen.keys())
                raise NotSeen(f"no tunnel after {seconds} s: {', '.join(missing[:5])}")
            return max(self._seen[address] for address in wanted)

    def _follow(self) -> None:
        inbox = wire.Inbox()
        while data := self._socket.recv(PIECE):
            now = time.perf_counter()
            for message in inbox.feed(data):
                self._take(message, now)

    def _take(self, message: Json, now: float) -> None:
        match message:
            case {"method": "echo"}:
                self._socket.sendall(wire.echo_reply(message))
            case {"method": "update", "params": [_, updates]} | {"id": 1, "result": updates}:
                ready = [
                    row["new"]
                    for row in updates.get("Interface", {}).values()
                    if "new" in row and _is_ready(row["new"])
                ]
                with self._news:
                    for row in ready:
                        self._seen.setdefault(_remote_address(row), now)
                    self._news.notify_all()


def _is_ready(row: Json) -> bool:
    return row["type"] == "vxlan" and isinstance(row["ofport"], int) and row["ofport"] > 0


def _remote_address(row: Json) -> str:
    address: str = dict(row["options"][1])["remote_ip"]
    return address
