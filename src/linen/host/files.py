# SPDX-License-Identifier: Apache-2.0
"""Files that others read at any moment: there whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PROGRAM, SECRET = 0o755, 0o600
UNFINISHED = ".new"  # a container runtime takes no file whose name ends so
ABANDONED = 600.0  # seconds after which nobody writes to such a file any more


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file by way of another in the same folder, so that nobody sees half of it.

    Also after a power cut: the content is on the disk before the name is. Several may write it at
    once, and one of them wins.
    """
    # Not by the process's id, which is 1 in every container.
    descriptor, name = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the umask may have taken from it
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _remove_abandoned(path)
    _sync_folder(path.parent)


def _remove_abandoned(path: Path) -> None:
    """Remove what writers of a file have left that were killed before they could tidy up."""
    for found in path.parent.glob(f".*{UNFINISHED}"):
        if not found.name.startswith(f".{path.name}."):
            continue
        with suppress(FileNotFoundError):  # its writer is done, or another one tidies up, too
            if time.time() - found.stat().st_mtime > ABANDONED:
                found.unlink()


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
