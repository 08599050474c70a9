# SPDX-License-Identifier: Apache-2.0
"""Changes of files, as the kernel's inotify tells them, and where it won't, by looking."""

from __future__ import annotations

import asyncio
import errno
import logging
import stat
from typing import TYPE_CHECKING

from asyncinotify import Inotify, Mask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

log = logging.getLogger("flaxd.file_changes")

# What a finished write looks like, in place or by renaming another file to the name, and a removal.
CHANGED = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.DELETE | Mask.MOVED_FROM
# What ends a folder, or its name; and what the kernel says by itself when it watches no more.
GONE = Mask.DELETE_SELF | Mask.MOVE_SELF
WATCH_ENDED = Mask.UNMOUNT | Mask.IGNORED
LOST = Mask.Q_OVERFLOW  # so much happened at once that the kernel has left out the rest
MOUNTED = "..data"  # kubelet's link to all files of a ConfigMap (AtomicWriter, pkg/volume/util)
ABSENCE = 0.5  # seconds between two looks for a folder that is not there
BLIND = 3.0  # seconds between two looks at files that the kernel does not watch for us
# What the kernel lacks that lets this user watch no more (inotify_init(2), inotify_add_watch(2)).
SCARCE = {
    errno.EMFILE: "all the inotify instances that fs.inotify.max_user_instances allows",
    errno.ENOSPC: "all the inotify watches that fs.inotify.max_user_watches allows",
}
_BLIND_WARNING = (
    "the kernel tells of no changes in %s, so they are looked for every %g s: this user has %s;"
    " raise that by `sysctl -w`, and in /etc/sysctl.d"
)


def of_file(path: Path) -> AsyncGenerator[bool, None]:
    """Once now, and once after each time that the file at `path` was written, replaced or removed.

    Each time whether the kernel told that somebody has done so, and is done; else the file is as it
    is, and may be half written.
    Its folder is watched, since a replaced file is another file. In a mounted ConfigMap or Secret
    the file's name stays the same link, and leads through another one that is replaced.
    """
    return in_folder(path.parent, f"/{path.name}", f"/{MOUNTED}")


async def in_folder(folder: Path, *endings: str) -> AsyncGenerator[bool, None]:
    """Once now, and once after each change of a file in `folder` whose name ends in one of these.

    Each time whether the kernel told so, as for `of_file`. A `/` begins each name.
    To remove the folder, or to put another in its place, changes them all.
    Where the kernel lets this user watch no more, once every few seconds, changed or not.
    """
    is_blind = False
    while True:
        looks = _looks_at(folder, endings)
        try:
            async for is_told in looks:
                is_blind = False
                yield is_told
        except OSError as error:
            if error.errno not in SCARCE:
                raise
            if not is_blind:
                log.warning(_BLIND_WARNING, folder, BLIND, SCARCE[error.errno])
            is_blind = True
        finally:
            await looks.aclose()
        if is_blind:
            yield False
            await asyncio.sleep(BLIND)


async def _looks_at(folder: Path, endings: tuple[str, ...]) -> AsyncGenerator[bool, None]:
    """Once now and after each change, until the watch on the folder ends, with it or by itself.

    Each time whether the kernel told of that change.
    """
    with Inotify() as inotify:
        is_there = _watch(inotify, folder)
        yield False
        if not is_there:
            await _watch_once_there(inotify, folder)
            yield False
        while (change := await _next_change(inotify, endings)) is not None:
            yield change


def _watch(inotify: Inotify, folder: Path) -> bool:
    """Watch a folder; whether there is one."""
    try:
        inotify.add_watch(folder, CHANGED | Mask.CREATE | GONE | Mask.ONLYDIR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


async def _watch_once_there(inotify: Inotify, folder: Path) -> None:
    """Wait for a folder and watch it.

    It is looked for now and then: it may have gone with its parents, and come with any of them.
    """
    while True:
        await asyncio.sleep(ABSENCE)
        if _watch(inotify, folder):
            return


async def _next_change(inotify: Inotify, endings: tuple[str, ...]) -> bool | None:
    """Wait for a change of a file whose name ends so: whether the kernel told of that very one.

    None for the end of the watch.
    """
    while True:
        event = await inotify.get()
        if event.mask & (GONE | WATCH_ENDED):
            return None
        if event.mask & LOST:
            return False
        if event.name is None or not f"/{event.name.name}".endswith(endings):
            continue
        if event.path is not None and event.mask & Mask.CREATE and not _is_link(event.path):
            continue  # a new file is empty; that it has been written is told later
        return True


def _is_link(path: Path) -> bool:
    """Whether it is a link, symbolic or hard, which is whole from the beginning."""
    try:
        status = path.lstat()
    except OSError:
        return False  # it is gone already, which is told next
    return stat.S_ISLNK(status.st_mode) or status.st_nlink > 1
