# SPDX-License-Identifier: Apache-2.0
"""The last known nodes, on disk: a restart without the API server keeps and mends the tunnels."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING

from linen.core import cluster
from linen.flaxd import peers_file
from linen.host import files
from linen.host.record import KNOWN_NODES

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

    from linen.settings.table import Settings

log = logging.getLogger("flaxd.cache")

# To keep five thousand nodes takes some 50 ms, whatever of them has changed.
PAUSE = 1.0  # seconds from a change until it is kept, with those that follow it
SHARE = 0.01  # of the time that may be spent on it


def path_of(settings: Settings) -> Path:
    """Where the nodes of this network are kept."""
    return settings.state_dir / settings.network / KNOWN_NODES


def load(settings: Settings) -> cluster.View | None:
    """The nodes as they were last known, None where nothing usable is kept.

    The view is incomplete: nodes may have come and gone since.
    """
    path = path_of(settings)
    try:
        # Of nodes that claim the same addresses one has them, which is settled when they are used.
        known = peers_file.read(path, settings.node, may_overlap=True)
    except peers_file.PeersInvalid as error:
        if path.exists():
            log.warning("the nodes that were kept for this start cannot be used: %s", error)
        return None
    return cluster.View(known.own, known.nodes, complete=False, cluster_range=known.cluster_range)


def store(settings: Settings, view: cluster.View) -> None:
    """Keep a complete view. Raises `OSError`."""
    nodes = [peers_file.entry(node) for node in view.nodes.values()]
    document = {"clusterRange": list(view.cluster_range), "nodes": nodes}
    path = path_of(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write_whole(path, (json.dumps(document) + "\n").encode(), files.SECRET)


class Keeper:
    """Keeps views while `run` runs: the last one in the end, those before it as time permits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._view: cluster.View | None = None  # None where there is nothing to do
        self._given: cluster.View | None = None  # what came last to be kept, and may be by now
        self._wake = asyncio.Event()

    def keep(self, view: cluster.View) -> None:
        """Keep a view, soon, unless it says no more than the one before.

        One that is not complete, or lacks this node, is of no use at the next start.
        """
        if view is self._given or not view.complete or view.own is None:
            return
        before, self._given = self._given, view
        if view != before:
            self._view = view
            self._wake.set()

    async def run(self) -> NoReturn:
        """Work until cancelled."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(PAUSE)
                self._wake.clear()
                began = time.monotonic()
                self._store()
                await asyncio.sleep((time.monotonic() - began) / SHARE)
        finally:
            self._store()

    def _store(self) -> None:
        view, self._view = self._view, None
        if view is None:
            return
        try:
            store(self._settings, view)
        except OSError as error:
            log.warning("the nodes cannot be kept for the next start: %s", error)
