# SPDX-License-Identifier: Apache-2.0
"""Which views of the cluster are kept for the next start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from linen.core.cluster import Peer, View
from linen.flaxd import cache
from linen.settings.table import load

if TYPE_CHECKING:
    from pathlib import Path

    from linen.settings.table import Settings


def chosen(folder: Path) -> Settings:
    """Settings of a node that keeps its views there."""
    return load({"node": "n1", "state-dir": str(folder)}, {}, None)


def view(*others: str, complete: bool = True) -> View:
    """The cluster with these nodes besides the own, all made anew."""
    nodes = {name: Peer(name, f"192.0.2.{name[1:]}") for name in ("n1", *others)}
    return View(nodes["n1"], nodes, complete=complete, cluster_range=["10.244.0.0/16"])


async def end(keeper: cache.Keeper) -> None:
    """Let it work, and end it."""
    running = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)  # it has had its turn
    running.cancel()
    await asyncio.wait([running])


def test_last_view_is_kept(tmp_path: Path) -> None:
    """The next start has the nodes of the last view, which may not be all any more."""
    keeper = cache.Keeper(chosen(tmp_path))

    keeper.keep(view("n2", "n3"))
    keeper.keep(view("n2"))
    asyncio.run(end(keeper))

    assert cache.load(chosen(tmp_path)) == view("n2", complete=False)


def test_view_that_says_nothing_new(tmp_path: Path) -> None:
    """What is kept is not written again, also if it is told again."""
    keeper = cache.Keeper(chosen(tmp_path))
    keeper.keep(view("n2"))
    asyncio.run(end(keeper))
    cache.path_of(chosen(tmp_path)).unlink()

    keeper.keep(view("n2"))
    asyncio.run(end(keeper))

    assert cache.load(chosen(tmp_path)) is None


def test_views_of_no_use(tmp_path: Path) -> None:
    """Neither half a view is kept, nor one without this node."""
    keeper = cache.Keeper(chosen(tmp_path))

    keeper.keep(view("n2", complete=False))
    keeper.keep(View(None, {"n2": Peer("n2", "192.0.2.2")}))
    asyncio.run(end(keeper))

    assert cache.load(chosen(tmp_path)) is None
