# SPDX-License-Identifier: Apache-2.0
"""The nodes from a file that somebody is writing while the daemon starts."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from linen.flaxd import file_changes, peers_file, sources
from support.notices import Notice, running

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from linen.core import cluster

FIRST = "nodes:\n- name: node1\n  vtep: 10.245.0.1\n- name: node2\n  vtep: 10.245.0.2\n"
REST = "- name: node3\n  vtep: 10.245.0.3\n"


class Views:
    """What a source has told."""

    def __init__(self) -> None:
        self.all: list[cluster.View] = []
        self.notice = Notice()

    def learn(self, view: cluster.View, _names: object) -> None:
        """Take in a view."""
        self.all.append(view)
        self.notice()

    async def until(self, *names: str, complete: bool) -> None:
        """Return as soon as the last view has just these nodes, and is complete or not."""

        def is_so() -> bool:
            return any(set(v.nodes) == set(names) and v.complete == complete for v in self.all[-1:])

        await self.notice.until(is_so, f"a view of {names}, complete: {complete}")

    async def are_more(self, count: int) -> None:
        """Return when as many further views have been told."""
        wanted = len(self.all) + count
        await self.notice.until(lambda: len(self.all) >= wanted, f"{count} more views")


def kept() -> cluster.View:
    """The nodes that were known before."""
    return peers_file.parse(FIRST + REST, "nodes.yaml", "node1")


def test_file_that_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file, which YAML takes for a whole one, is no reason to take other nodes for gone."""
    monkeypatch.setattr(sources, "REST", 600.0)
    path = tmp_path / "nodes.yaml"

    async def body() -> None:
        views = Views()
        with path.open("w") as stream:
            stream.write(FIRST)
            stream.flush()
            async with running(sources.FileSource(path, "node1", kept).run(views.learn)):
                await views.until("node1", "node2", complete=False)
                stream.write(REST)
                stream.close()
                await views.until("node1", "node2", "node3", complete=True)

    asyncio.run(body())


def test_folder_that_comes_while_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file in a folder that has just been made is no reason to take other nodes for gone."""
    monkeypatch.setattr(sources, "REST", 600.0)
    path = tmp_path / "linen" / "nodes.yaml"

    async def body() -> None:
        views = Views()
        monkeypatch.setattr(sources.log, "warning", lambda *_: views.notice())
        source = sources.FileSource(path, "node1", kept)
        async with running(source.run(views.learn)):
            await views.notice.until(lambda: str(path) in source.problem, "a look for the folder")
            path.parent.mkdir()
            with path.open("w") as stream:
                stream.write(FIRST)
                stream.flush()
                await views.until("node1", "node2", complete=False)
            await views.until("node1", "node2", complete=True)

    asyncio.run(body())


def test_file_that_is_rewritten_unwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel watches no files half a file is no reason to take other nodes for gone."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(file_changes, "Inotify", refuse)
    monkeypatch.setattr(file_changes, "BLIND", 0.05)
    monkeypatch.setattr(sources, "REST", 600.0)
    path = tmp_path / "nodes.yaml"
    path.write_text(FIRST + REST)

    async def body() -> None:
        views = Views()
        async with running(sources.FileSource(path, "node1").run(views.learn)):
            await views.until("node1", "node2", "node3", complete=True)
            path.write_text(FIRST)
            await views.until("node1", "node2", complete=False)
            await views.are_more(3)
            path.write_text(FIRST + REST)
            await views.until("node1", "node2", "node3", complete=True)
        assert not any(view.complete for view in views.all if len(view.nodes) < 3)

    asyncio.run(body())


def test_file_that_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is missing in a file that nobody writes to for a moment is gone."""
    monkeypatch.setattr(sources, "REST", 0.2)
    path = tmp_path / "nodes.yaml"
    path.write_text(FIRST)

    async def body() -> None:
        views = Views()
        async with running(sources.FileSource(path, "node1", kept).run(views.learn)):
            await views.until("node1", "node2", complete=True)

    asyncio.run(body())


def test_file_that_lacks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with all nodes that were known is taken for whole at once."""
    monkeypatch.setattr(sources, "REST", 600.0)
    path = tmp_path / "nodes.yaml"
    path.write_text(FIRST + REST)

    async def body() -> None:
        views = Views()
        async with running(sources.FileSource(path, "node1", kept).run(views.learn)):
            await views.until("node1", "node2", "node3", complete=True)

    asyncio.run(body())
