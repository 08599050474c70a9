# SPDX-License-Identifier: Apache-2.0
"""The last known nodes, on disk: a restart without the API server keeps and mends the tunnels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from linen.core import cluster
from linen.flaxd import peers_file
from linen.host import files
from linen.host.record import KNOWN_NODES

if TYPE_CHECKING:
    from pathlib import Path

    from linen.host.settings import Settings


def path_of(settings: Settings) -> Path:
    """Where the nodes of this network are kept."""
    return settings.state_dir / settings.network / KNOWN_NODES


def load(settings: Settings) -> cluster.View | None:
    """The nodes as they were last known, None where nothing usable is kept.

    The view is incomplete: nodes may have come and gone since.
    """
    path = path_of(settings)
    try:
        known = peers_file.read(path, settings.node)
    except peers_file.PeersInvalid:
        return None
    return cluster.View(known.own, known.peers, complete=False, cluster_range=known.cluster_range)


def store(settings: Settings, view: cluster.View) -> None:
    """Keep a complete view. Raises `OSError`."""
    nodes = [peers_file.entry(peer) for peer in view.peers.values()]
    document = {"clusterRange": list(view.cluster_range), "nodes": nodes}
    path = path_of(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write_whole(path, (json.dumps(document) + "\n").encode(), files.SECRET)
