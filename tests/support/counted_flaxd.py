# SPDX-License-Identifier: Apache-2.0
"""flaxd, whose nodes come one by one, and which counts what it does for each.

The file of `--peers` is read at the start. Each line on standard input is one more node, as the
file would have it, of which the daemon is told as Kubernetes tells of it: as the only news. From
then on instructions of Python's virtual machine are counted, until the line `count` comes and their
number is logged. Unlike seconds they are the same on any machine, however busy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from linen.core import cluster
from linen.flaxd import main, peers_file, sources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import FrameType
    from typing import Any

    from linen.settings.table import Settings

log = logging.getLogger("flaxd.counted")


class Counter:
    """Counts the instructions of all functions that are called or resumed after `start`."""

    def __init__(self) -> None:
        self.instructions = 0

    def start(self) -> None:
        """Begin at 0."""
        self.instructions = 0
        sys.settrace(self._trace)

    def stop(self) -> None:
        """Count no more."""
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.instructions += event == "opcode"
        return self._trace


class OneByOne(sources.FileSource):
    """The nodes of a file, and then those that come on standard input."""

    def __init__(self, settings: Settings) -> None:
        assert settings.peers is not None
        super().__init__(settings.peers, settings.node)
        self._view = peers_file.read(settings.peers, settings.node)
        self._counter = Counter()
        self._last = ""  # the name of the node that came last

    async def run(self, on_view: sources.Learn) -> None:
        """Tell of the nodes."""
        self.problem = ""
        on_view(self._view, None)
        lines = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := (await lines.readline()).decode().strip():
            if line == "count":
                self._counter.stop()
                log.info("counted %d instructions for %s", self._counter.instructions, self._last)
            else:
                self._counter.start()
                self._tell(json.loads(line), on_view)

    def _tell(self, node: dict[str, Any], on_view: sources.Learn) -> None:
        peer = cluster.Peer(node["name"], node["vtep"], ranges=node["ranges"])
        self._last = peer.name
        nodes = {**self._view.nodes, peer.name: peer}
        self._view = cluster.View(self._view.own, nodes, cluster_range=self._view.cluster_range)
        on_view(self._view, [peer.name])


@asynccontextmanager
async def one_by_one(given: Settings) -> AsyncIterator[main.MakeSource]:  # noqa: ARG001 (its name)
    """What makes such a source."""
    yield lambda chosen, _: OneByOne(chosen)


if __name__ == "__main__":
    main._sources = one_by_one
    main.main()
