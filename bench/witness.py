# SPDX-License-Identifier: Apache-2.0
"""When a tunnel was there, as OVSDB's own notifications tell it.

A witness is a thread with a connection of its own that monitors a host's interfaces (RFC 7047,
section 4.1.5). A tunnel is there when ovs-vswitchd has given it a number on its bridge, `ofport`,
and gone when its row is. Nothing is polled, and what is measured does not know of it.
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from linen.ovsdb import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from linen.light.json import Json

PIECE = 1 << 16  # bytes
COLUMNS = ["options", "ofport", "type"]


class NotSeen(Exception):
    """What was waited for did not come in time."""


def sockets_of(pid: int) -> Path:
    """The folder with Open vSwitch's sockets, as the process `pid` of a host or node has it."""
    return Path(f"/proc/{pid}/root/run/openvswitch")


class Witness:
    """Sees the tunnels of the host that the process `pid` belongs to, as a context manager."""

    def __init__(self, pid: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(sockets_of(pid) / "db.sock"))
        self._seen: dict[str, float] = {}  # remote address: when its tunnel was there
        self._there: set[str] = set()  # the rows of tunnels that are there now
        self._changed_at = 0.0  # when their number was another for the last time
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

    def wait_for_peers(self, number: int, seconds: float) -> float:
        """When there were tunnels to so many peers, no more and no less; `NotSeen` as above."""
        with self._news:
            if not self._news.wait_for(lambda: len(self._there) == number, seconds):
                raise NotSeen(f"{len(self._there)} tunnels after {seconds} s, not {number}")
            return self._changed_at

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
                with self._news:
                    for uuid, row in updates.get("Interface", {}).items():
                        self._take_row(uuid, row.get("new"), now)
                    self._news.notify_all()

    def _take_row(self, uuid: str, row: Json, now: float) -> None:
        before = len(self._there)
        if row is not None and _is_ready(row):
            self._there.add(uuid)
            self._seen.setdefault(_remote_address(row), now)
        else:
            self._there.discard(uuid)
        if len(self._there) != before:
            self._changed_at = now


def _is_ready(row: Json) -> bool:
    return row["type"] == "vxlan" and isinstance(row["ofport"], int) and row["ofport"] > 0


def _remote_address(row: Json) -> str:
    address: str = dict(row["options"][1])["remote_ip"]
    return address
