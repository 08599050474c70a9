# SPDX-License-Identifier: Apache-2.0
"""The other nodes of a large cluster, as the daemon of one node knows them.

Nobody is behind their addresses. They are entries of the daemon's file, or Nodes of a real API
server with all that kubelets, controllers and daemons write there. Node 1 is the one that is
measured; each node has an IPv4 range of 256 addresses.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from support import workers
from support.kubernetes_nodes import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.control_plane import ControlPlane

OWN = 1  # the number of the node that is measured
CLUSTER_RANGE = "100.0.0.0/8"
WRITERS = 8  # threads that make Nodes
KEPT_UP = 0.9  # of the turns that are due, for a pace that counts as kept


def name_of(number: int) -> str:
    """The name of a node."""
    return f"node{number}"


def pod_range(number: int) -> str:
    """The pods' addresses on a node."""
    return f"100.{number >> 8}.{number & 255}.0/24"


class Fleet(ABC):
    """The nodes there are besides the one that is measured, by their numbers."""

    def __init__(self) -> None:
        self.members: deque[int] = deque()
        self._last = OWN

    def grow(self, size: int) -> None:
        """Let there be nodes up to `size`, the one that is measured included."""
        missing = [self._number() for _ in range(size - 1 - len(self.members))]
        self.members.extend(missing)
        self._add(missing)

    def join(self) -> float:
        """Let one more node join; the moment just before that could be known.

        On time.perf_counter's clock.
        """
        number = self._number()
        self.members.append(number)
        return self._join(number)

    def leave(self) -> float:
        """Let the node leave that has been there for the longest time; the moment, as above."""
        return self._leave(self.members.popleft())

    def replace(self, turn: int) -> None:
        """In turns, let a node leave and another one join."""
        if turn % 2:
            self.join()
        else:
            self.leave()

    def _number(self) -> int:
        self._last += 1
        return self._last

    @abstractmethod
    def _add(self, numbers: list[int]) -> None: ...

    @abstractmethod
    def _join(self, number: int) -> float: ...

    @abstractmethod
    def _leave(self, number: int) -> float: ...


class ListedFleet(Fleet):
    """Nodes in the file at `path`, which is replaced at each change."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _add(self, numbers: list[int]) -> None:  # noqa: ARG002  (they are members already)
        self._write()

    def _join(self, number: int) -> float:  # noqa: ARG002
        return self._write()

    def _leave(self, number: int) -> float:  # noqa: ARG002
        return self._write()

    def _write(self) -> float:
        """Replace the file; when."""
        nodes = [_entry(number) for number in (OWN, *self.members)]
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"clusterRange": CLUSTER_RANGE, "nodes": nodes}))
        now = time.perf_counter()
        temporary.rename(self.path)
        return now


def _entry(number: int) -> dict[str, Any]:
    name = name_of(number)
    return {"name": name, "vtep": address_of(name), "ranges": [pod_range(number)]}


class RegisteredFleet(Fleet):
    """Nodes of an API server."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__()
        self._plane = plane

    def heartbeat(self, turn: int) -> None:
        """What a kubelet says every five minutes; each time that of the next node."""
        member = self.members[turn % len(self.members)]
        workers.heartbeat(self._plane, name_of(member), turn + 1)

    def _add(self, numbers: list[int]) -> None:
        def add(number: int) -> None:
            name = name_of(number)
            workers.add_worker(self._plane, name, address_of(name), pod_range(number))

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(add, numbers))

    def _join(self, number: int) -> float:
        """The time is that of its daemon's annotations: the others know nothing of it before."""
        name = name_of(number)
        workers.register(self._plane, name, address_of(name), pod_range(number))
        now = time.perf_counter()
        workers.announce(self._plane, name, address_of(name), pod_range(number))
        return now

    def _leave(self, number: int) -> float:
        now = time.perf_counter()
        self._plane.delete_node(name_of(number))
        return now


class Tally:
    """How often something was done."""

    def __init__(self) -> None:
        self.turns = 0


class TooSlow(Exception):
    """What was to be done at a pace was not: what is measured meanwhile would be of less."""


@contextmanager
def paced(rate: float, work: Callable[[int], None]) -> Iterator[Tally]:
    """While the block lasts, do `work` `rate` times a second, with the number of the turn.

    Raises `TooSlow` in the end where that was more than could be done.
    """
    done, ended = Tally(), Event()
    began = time.perf_counter()

    def go_on() -> None:
        while not ended.wait(began + (done.turns + 0.5) / rate - time.perf_counter()):
            work(done.turns)
            done.turns += 1

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(go_on)
        try:
            yield done
            due = rate * (time.perf_counter() - began)
        finally:
            ended.set()
        running.result()
    if done.turns < KEPT_UP * due - 1:
        raise TooSlow(f"{done.turns} turns where {due:.0f} were due")
