# SPDX-License-Identifier: Apache-2.0
"""Which labs there are: one folder each below /run/linen-lab.

The folder holds `lab.json` (the description and the keepers' process identities) while the lab
is up, and `log/` when it failed to come up.
An exclusive flock on the folder says that somebody is starting or stopping this lab; the kernel
drops it when they die.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from linen.lab.description import (
    LabDescription,
    check_name,
    parse_description,
    render_description,
)
from linen.lab.errors import LabError
from linen.lab.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.interruption import Interruption

STATE = Path("/run/linen-lab")
_LOCK_DEADLINE = 30  # seconds
_LOCK_INTERVAL = 0.05  # seconds


@dataclass(frozen=True)
class Record:
    """What is remembered of a lab that is up."""

    description: LabDescription
    keeper: Process
    nodes: dict[str, Process]


def folder_of(name: str) -> Path:
    """Give the lab's folder, whether it exists or not."""
    check_name("lab", name)
    return STATE / name


def names() -> list[str]:
    """Name all labs, also those that failed to come up."""
    return sorted(path.name for path in STATE.iterdir()) if STATE.exists() else []


def find_record(name: str) -> Record | None:
    """Read what is remembered of a lab; None if nothing is, or if it no longer runs."""
    try:
        values = json.loads((folder_of(name) / "lab.json").read_text())
    except FileNotFoundError:
        return None
    record = Record(
        description=parse_description(values["description"]),
        keeper=Process(*values["keeper"]),
        nodes={node: Process(*process) for node, process in values["nodes"].items()},
    )
    return record if record.keeper.is_alive() else None


def write_record(record: Record) -> None:
    """Remember a lab, at one stroke."""
    path = folder_of(record.description.name) / "lab.json"
    values = {
        "description": render_description(record.description),
        "keeper": record.keeper,
        "nodes": record.nodes,
    }
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(values, indent=1))
    temporary.rename(path)


@contextmanager
def claimed(name: str, waiting: Interruption | None) -> Iterator[Path]:
    """Hold the lab's folder, making it if need be, while a lab is started or stopped.

    While `waiting` says that no signal has come, wait for whoever holds it now; else do not wait.
    """
    folder = folder_of(name)
    deadline = time.monotonic() + _LOCK_DEADLINE
    while (descriptor := _try_to_lock(folder)) is None:
        if waiting is None or waiting.signal is not None or time.monotonic() >= deadline:
            raise LabError(f"lab {name} is being started or stopped by another linenctl")
        time.sleep(_LOCK_INTERVAL)
    try:
        yield folder
    finally:
        os.close(descriptor)


def remove(name: str) -> None:
    """Forget a lab that was claimed; the folder of all labs goes with the last one."""
    shutil.rmtree(folder_of(name))
    with contextlib.suppress(OSError):  # not empty: other labs
        STATE.rmdir()


def _try_to_lock(folder: Path) -> int | None:
    """Lock the folder; None if somebody holds it, or has removed it at this moment."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # 0: it was removed before we held the lock
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
