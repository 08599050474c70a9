# SPDX-License-Identifier: Apache-2.0
"""Files that others read at any moment: there whole, or not at all."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM, SECRET = 0o755, 0o600


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file by way of another in the same folder, so that nobody sees half of it.

    Also after a power cut: the content is on the disk before the name is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the umask may have taken from it
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file that may be gone already."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(content: bytes) -> str:
    """What tells whether a file is as it was."""
    return hashlib.sha256(content).hexdigest()


def find_digest(path: Path) -> str | None:
    """The digest of a file, None where there is none."""
    try:
        return digest(path.read_bytes())
    except FileNotFoundError:
        return None
