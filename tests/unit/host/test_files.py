# SPDX-License-Identifier: Apache-2.0
"""Files that others read at any moment, and what writers leave behind that were killed."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from linen.host import files

if TYPE_CHECKING:
    from pathlib import Path

LARGE = 4 << 20  # bytes, so that writers overlap


def test_content_and_mode(tmp_path: Path) -> None:
    """A file gets its content and its mode, whatever the umask, and nothing is left beside it."""
    path = tmp_path / "linen"
    path.write_bytes(b"before")

    files.write_whole(path, b"after", files.PROGRAM)

    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"after", 0o755)
    assert list(tmp_path.iterdir()) == [path]


def test_leftover_of_a_container_before(tmp_path: Path) -> None:
    """What a killed writer with our process id has left is no obstacle."""
    (tmp_path / f".linen.{os.getpid()}").touch()

    files.write_whole(tmp_path / "linen", b"after", files.PROGRAM)

    assert (tmp_path / "linen").read_bytes() == b"after"


def test_leftovers_go(tmp_path: Path) -> None:
    """Files that writers began long ago and never finished go; one just begun is somebody's."""
    old, young, other = (tmp_path / name for name in (".linen.a.new", ".linen.b.new", ".l.c.new"))
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        long_ago = time.time() - 2 * files.ABANDONED
        os.utime(path, (long_ago, long_ago))

    files.write_whole(tmp_path / "linen", b"after", files.PROGRAM)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".l.c.new", ".linen.b.new", "linen"]


def test_two_writers_at_once(tmp_path: Path) -> None:
    """Writers of one process id, as two containers have it, do not disturb each other."""
    path = tmp_path / "linen"
    contents = [bytes([number]) * LARGE for number in range(4)]
    failed: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(5):
                files.write_whole(path, content, files.PROGRAM)
        except OSError as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=[content]) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert failed == []
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """Where the name cannot be taken nothing is left behind."""
    path = tmp_path / "linen"
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        files.write_whole(path, b"after", files.PROGRAM)

    assert list(tmp_path.iterdir()) == [path]
