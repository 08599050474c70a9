# SPDX-License-Identifier: Apache-2.0
"""Where the daemon learns of the cluster's nodes: a file here, Kubernetes in `kubernetes.py`."""

from __future__ import annotations

import asyncio
import errno
import logging
import stat
import time
from typing import TYPE_CHECKING, Protocol, TypeAlias

from asyncinotify import Inotify, Mask

from linen.flaxd import peers_file

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from linen.core import cluster

log = logging.getLogger("flaxd.sources")

# What a finished write looks like: in place, or by renaming another file to the name.
WRITTEN = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.DELETE | Mask.MOVED_FROM
# What ends a folder, or its name; and what the kernel says by itself when it watches no more.
GONE = Mask.DELETE_SELF | Mask.MOVE_SELF
UNWATCHED = Mask.UNMOUNT | Mask.IGNORED
MOUNTED = "..data"  # kubelet's link to all files of a ConfigMap (AtomicWriter, pkg/volume/util)
LOST = Mask.Q_OVERFLOW  # so much happened at once that the kernel has left out the rest
ABSENCE = 0.5  # seconds between two looks for a folder that is not there
REST = 2.0  # seconds for which nobody pauses who is writing a file
BLIND = 3.0  # seconds between two looks at files that the kernel does not watch for us
# What the kernel lacks that lets this user watch no more (inotify_init(2), inotify_add_watch(2)).
SCARCE = {
    errno.EMFILE: "all the inotify instances that fs.inotify.max_user_instances allows",
    errno.ENOSPC: "all the inotify watches that fs.inotify.max_user_watches allows",
}
_UNWATCHED = (
    "the kernel tells of no changes in %s, so they are looked for every %g s: this user has %s;"
    " raise that by `sysctl -w`, and in /etc/sysctl.d"
)

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

    At the start somebody may just be writing it, and half a YAML file can be a sound one. So where
    one that was written a moment ago lacks nodes of `kept`, the view from before, these are not
    taken for gone yet.
    """

    def __init__(
        self, path: Path, own: str, kept: Callable[[], cluster.View | None] = lambda: None
    ) -> None:
        self._path = path
        self._kept = kept
        self._own = own
        self._wake = asyncio.Event()
        self._is_told = False  # that somebody finished writing the file since the start
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
        """Know of each change: each look but the first is after a finished write, or much later."""
        is_first = True
        async for _ in changes(self._path):
            self._is_told = not is_first
            is_first = False
            self._wake.set()

    async def _read(self, on_view: Learn) -> None:
        known: Mapping[str, cluster.Peer] = {}
        while True:
            await self._wake.wait()
            self._wake.clear()
            rest = 0.0 if self._is_told else _time_to_rest(self._path)
            try:
                view = peers_file.read(self._path, self._own, known)
            except peers_file.PeersInvalid as error:
                self._complain("; ".join(error.faults))
                continue
            if rest and self._lacks_nodes(view):
                view.complete = False
                asyncio.get_running_loop().call_later(rest, self._wake.set)
            self.problem, self.stale_since = "", None
            known = view.peers
            on_view(view, None)

    def _lacks_nodes(self, view: cluster.View) -> bool:
        kept = self._kept()
        return kept is not None and not kept.peers.keys() <= view.peers.keys()

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


def changes(path: Path) -> AsyncGenerator[None, None]:
    """Once now, and once after each time that the file at `path` was written, replaced or removed.

    Its folder is watched, since a replaced file is another file. In a mounted ConfigMap or Secret
    the file's name stays the same link, and leads through another one that is replaced.
    """
    return changes_in(path.parent, path.name, MOUNTED)


async def changes_in(folder: Path, *endings: str) -> AsyncGenerator[None, None]:
    """Once now, and once after each change of a file in `folder` whose name ends in one of these.

    To remove the folder, or to put another in its place, changes them all.
    Where the kernel lets this user watch no more, once every few seconds, changed or not.
    """
    is_blind = False
    while True:
        looks = _looks_at(folder, endings)
        try:
            async for _ in looks:
                is_blind = False
                yield None
        except OSError as error:
            if error.errno not in SCARCE:
                raise
            if not is_blind:
                log.warning(_UNWATCHED, folder, BLIND, SCARCE[error.errno])
            is_blind = True
        finally:
            await looks.aclose()
        if is_blind:
            yield None
            await asyncio.sleep(BLIND)


async def _looks_at(folder: Path, endings: tuple[str, ...]) -> AsyncGenerator[None, None]:
    """Once now and after each change, until the watch on the folder ends, with it or by itself."""
    with Inotify() as inotify:
        is_there = _watch(inotify, folder)
        yield None
        if not is_there:
            await _watch_once_there(inotify, folder)
            yield None
        while await _has_change(inotify, endings):
            yield None


def _watch(inotify: Inotify, folder: Path) -> bool:
    """Watch a folder; whether there is one."""
    try:
        inotify.add_watch(folder, WRITTEN | Mask.CREATE | GONE | Mask.ONLYDIR)
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


async def _has_change(inotify: Inotify, endings: tuple[str, ...]) -> bool:
    """Wait for a change of a file whose name ends so, or for the end of the watch: no change."""
    while True:
        event = await inotify.get()
        if event.mask & (GONE | UNWATCHED):
            return False
        if event.mask & LOST:
            return True
        if event.name is None or not event.name.name.endswith(endings):
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
