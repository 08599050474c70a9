# SPDX-License-Identifier: Apache-2.0
"""What is noticed of a watched folder that goes and comes, by the kernel's inotify."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linen.flaxd import file_changes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECONDS = 30


def make(folder: Path, *names: str) -> None:
    """Make empty files in a folder, and it too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


async def look(looks: AsyncIterator[bool], condition: Callable[[], object]) -> None:
    """Return as soon as one of the looks finds that the condition holds."""
    async with asyncio.timeout(SECONDS):
        async for _ in looks:
            if condition():
                return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in it, a few folders deep."""
    folder = tmp_path / "etc" / "cni" / "net.d"
    make(folder, "a.conf")
    return folder


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_folder_made_anew(folder: Path, depth: int) -> None:
    """A folder that is removed, alone or with its parents, is watched again once it is back."""

    async def scenario() -> None:
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, (folder / "a.conf").exists)

            shutil.rmtree([folder, *folder.parents][depth])
            await look(looks, lambda: not folder.exists())

            make(folder)
            await look(looks, folder.exists)
            make(folder, "b.conf")
            await look(looks, (folder / "b.conf").exists)

    asyncio.run(scenario())


def test_folder_made_anew_at_once(folder: Path) -> None:
    """A folder that was replaced before anybody looked is looked at, and then watched."""

    async def scenario() -> None:
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, (folder / "a.conf").exists)

            shutil.rmtree(folder)
            make(folder, "b.conf")
            await look(looks, (folder / "b.conf").exists)
            make(folder, "c.conf")
            await look(looks, (folder / "c.conf").exists)

    asyncio.run(scenario())


def test_another_folder_in_its_place(folder: Path) -> None:
    """A folder that is renamed is left, and the one that gets its name is watched."""

    async def scenario() -> None:
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, (folder / "a.conf").exists)

            shutil.move(folder, folder.with_name("old.d"))
            await look(looks, lambda: not folder.exists())
            make(folder)
            await look(looks, folder.exists)
            make(folder, "b.conf")
            await look(looks, (folder / "b.conf").exists)

    asyncio.run(scenario())


def test_file_of_a_config_map(tmp_path: Path) -> None:
    """A file that kubelet mounts is looked at when the ConfigMap has changed.

    Its name stays a link through another link, and that one is replaced (AtomicWriter.Write in
    Kubernetes' pkg/volume/util).
    """
    nodes = tmp_path / "nodes.json"

    def write(version: str) -> None:
        make(tmp_path / version)
        (tmp_path / version / nodes.name).write_text(version)
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    async def scenario() -> None:
        write("..1")
        nodes.symlink_to(f"..data/{nodes.name}")
        async with aclosing(file_changes.of_file(nodes)) as looks:
            await look(looks, lambda: nodes.read_text() == "..1")

            write("..2")
            await look(looks, lambda: nodes.read_text() == "..2")

    asyncio.run(scenario())


def test_folder_that_comes_late(tmp_path: Path) -> None:
    """A folder that is not there yet is waited for."""

    async def scenario() -> None:
        folder = tmp_path / "late"
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, lambda: not folder.exists())

            make(folder, "a.conf")
            await look(looks, (folder / "a.conf").exists)

    asyncio.run(scenario())


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_file_that_is_a_link(folder: Path, link: str) -> None:
    """A file that appears as a link to another is noticed, though nobody writes it there."""
    source = folder.parent / "prepared"
    source.touch()

    async def scenario() -> None:
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, (folder / "a.conf").exists)

            getattr(folder / "b.conf", link)(source)
            await look(looks, (folder / "b.conf").exists)

    asyncio.run(scenario())


def test_file_that_is_being_written(folder: Path) -> None:
    """A new file is looked at once it has been written, not while it is empty."""

    async def scenario() -> None:
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, (folder / "a.conf").exists)

            with (folder / "b.conf").open("w") as stream:
                following = asyncio.ensure_future(anext(looks))
                for _ in range(2):  # once for the kernel, once for who waits
                    await inotify_has_been_read(folder)
                assert not following.done()
                stream.write("{}")
            async with asyncio.timeout(SECONDS):
                await following
            assert (folder / "b.conf").read_text() == "{}"

    asyncio.run(scenario())


async def inotify_has_been_read(folder: Path) -> None:
    """Return when another watch, made before, has heard of the last change in a folder."""
    async with aclosing(file_changes.in_folder(folder, "last")) as looks:
        await anext(looks)
        (folder / "last").write_text("")
        async with asyncio.timeout(SECONDS):
            await anext(looks)


def test_more_changes_than_the_kernel_keeps(folder: Path) -> None:
    """Where the kernel drops changes, there is a look: one of them may be of a file of ours."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    here, there = folder / "here", folder / "there"
    make(folder, "here")

    async def scenario() -> None:
        async with aclosing(file_changes.in_folder(folder, ".conf")) as looks:
            await look(looks, (folder / "a.conf").exists)

            for _ in range(most // 4 + 1):  # two changes each, from here and there
                here.rename(there)
                there.rename(here)
            make(folder, "b.conf")
            await look(looks, (folder / "b.conf").exists)

    asyncio.run(scenario())
