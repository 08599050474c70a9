# SPDX-License-Identifier: Apache-2.0
"""Where the daemon learns of the cluster's nodes: a file here, Kubernetes in `kubernetes.py`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol, TypeAlias

from linen.flaxd import file_changes, peers_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from linen.core import cluster

log = logging.getLogger("flaxd.sources")

REST = 2.0  # seconds for which nobody pauses who is writing a file

# To be called with a view, and the names of those nodes that may be others than in the view before;
# None where that is not known.
Learn: TypeAlias = "Callable[[cluster.View, Iterable[str] | None], None]"


class Source(Protocol):
    """Tells the cluster's nodes, and is told how this one does."""

    @property
    def problem(self) -> str:
        """Why the nodes may be out of date; empty while they aren't."""

    @property
    def stale_since(self) -> float | None:
        """Since when they may be, as `time.monotonic` has it; None while they aren't."""

    def consider(self) -> None:
        """Something on this node, such as an address, may have changed."""

    async def run(self, on_view: Learn) -> None:
        """Call `on_view` with each new view of the cluster, until cancelled."""

    def report(self, waiting: Sequence[str], faults: Sequence[str]) -> None:
        """Take note why this node's overlay does not work (nothing: it does), and of its faults."""

    async def part(self) -> None:
        """The daemon was told to end: hear last news, in a few seconds at most.

        Raises `Removed` if Linen is taken off the cluster.
        """


class FileSource:
    """The nodes from the file of `--peers`.

    Somebody may just be writing it, and half a YAML file can be a sound one. So unless the kernel
    told that a write is done, a file that was written a moment ago and lacks nodes of the last
    whole view (at first `kept`) is no reason yet to take these for gone.
    """

    def __init__(
        self, path: Path, own: str, kept: Callable[[], cluster.View | None] = lambda: None
    ) -> None:
        self._path = path
        self._kept = kept
        self._own = own
        self._wake = asyncio.Event()
        self._is_told = False  # whether the kernel told that a write is done
        self.problem = "not read yet"
        self.stale_since: float | None = time.monotonic()

    def consider(self) -> None:
        """All that counts is in the file."""

    async def run(self, on_view: Learn) -> None:
        """Read the file now and whenever it has been written or replaced."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="watch")
            tasks.create_task(self._read(on_view), name="read")

    async def _watch(self) -> None:
        async for is_told in file_changes.of_file(self._path):
            self._is_told = is_told
            self._wake.set()

    async def _read(self, on_view: Learn) -> None:
        known: Mapping[str, cluster.Peer] = {}
        whole: Mapping[str, cluster.Peer] | None = None  # all nodes of the last complete view
        while True:
            await self._wake.wait()
            self._wake.clear()
            rest = 0.0 if self._is_told else _time_to_rest(self._path)
            try:
                view = peers_file.read(self._path, self._own, known)
            except peers_file.PeersInvalid as error:
                self._complain("; ".join(error.faults))
                continue
            if rest and self._lacks_nodes(view, whole):
                view.complete = False
                asyncio.get_running_loop().call_later(rest, self._wake.set)
            self.problem, self.stale_since = "", None
            known = view.nodes
            whole = known if view.complete else whole
            on_view(view, None)

    def _lacks_nodes(self, view: cluster.View, whole: Mapping[str, cluster.Peer] | None) -> bool:
        if whole is None:
            kept = self._kept()
            whole = kept.nodes if kept is not None else {}
        return not whole.keys() <= view.nodes.keys()

    def report(self, waiting: Sequence[str], faults: Sequence[str]) -> None:
        """Nobody is there to be told."""

    async def part(self) -> None:
        """No news can keep the daemon from ending."""

    def _complain(self, text: str) -> None:
        if text != self.problem:
            log.warning("the nodes stay as they were known: %s", text)
        self.problem, self.stale_since = text, self.stale_since or time.monotonic()


def _time_to_rest(path: Path) -> float:
    """Seconds until a file was left alone for so long that nobody seems to be writing it."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return 0.0  # to read it tells why
    return REST - age if 0 <= age < REST else 0.0
