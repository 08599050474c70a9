# SPDX-License-Identifier: Apache-2.0
"""The disk of a new node, with the images of the tests already in the runtime's hands.

To unpack them takes some seconds of processor for each node, so it is done once for all nodes to
come. Files of images are never written to again, neither by the runtime nor through an overlay, so
the nodes' disks share them by hard links; the runtime's databases are copied.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from support.cluster.runtimes import NAME, RUNTIME
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# In one file system, so that hard links are possible. A tmpfs on /tmp would be too small; a large
# one is needed on a machine of scripts/emulate, since a runtime's overlays cannot be on another's.
_FOLDER = Path(os.environ.get("TEST_DISKS", KUBERNETES.parent))
CLUSTERS = _FOLDER / "clusters"
_TEMPLATES = _FOLDER / "linen-templates"
_KEPT = 3  # of templates, one for each set of images that tests use, and of the logs of clusters


@contextmanager
def cluster_folder() -> Iterator[Path]:
    """A folder for a cluster's files, of which logs and configurations stay for a while."""
    CLUSTERS.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="linen-cluster-", dir=CLUSTERS))
    try:
        yield folder
    finally:
        for big in (*folder.glob("*/disk"), folder / "etcd"):
            # What failed early has none, and hides its own error behind no other one.
            shutil.rmtree(big, ignore_errors=True)
        (folder / "finished").touch()
        _keep_newest([path.parent for path in CLUSTERS.glob("*/finished")])


def prepare(disk: Path, archives: Sequence[Path], unpack: Callable[[Path], None]) -> None:
    """Give a new disk the runtime's folder.

    `unpack` makes a node in an empty folder, whose runtime unpacks the archives.
    """
    CLUSTERS.mkdir(exist_ok=True)
    with (CLUSTERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        template = _TEMPLATES / _digest(archives)
        if not template.exists():
            _make(template, unpack)
        _copy(template / "disk" / RUNTIME.storage, disk / RUNTIME.storage)


def _make(template: Path, unpack: Callable[[Path], None]) -> None:
    """Make a template, and remove the oldest."""
    unfinished = template.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of somebody who was killed
    unpack(unfinished)
    unfinished.rename(template)
    _keep_newest(list(_TEMPLATES.iterdir()))


def _keep_newest(folders: list[Path]) -> None:
    ages = {}
    for path in folders:
        with suppress(FileNotFoundError):  # another run of the tests tidies up, too
            ages[path] = path.stat().st_mtime
    for old in sorted(ages, key=ages.__getitem__)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True)
    subprocess.run(["cp", "--archive", "--link", source, target], check=True)
    databases = (path for pattern in RUNTIME.rewritten for path in target.rglob(pattern))
    for database in databases:
        content = database.read_bytes()
        database.unlink()
        database.write_bytes(content)


def _digest(archives: Sequence[Path]) -> str:
    """Name the archives' content by what changes with it."""
    found = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in archives]
    return hashlib.sha256(repr((NAME, found)).encode()).hexdigest()[:16]
