# SPDX-License-Identifier: Apache-2.0
"""A program that probes, as flaxd does, and writes what it finds to a file.

    python probing.py FOLDER INTERVAL SOURCE...

Reads whom to ask from FOLDER/targets.json ({peer: [address, …]}) for each round, and keeps
FOLDER/found.json up to date.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from linen.flaxd.probe import Probe

PERIOD = 0.1  # seconds between two looks at the results


async def main(folder: Path, interval: float, sources: list[str]) -> None:
    """Probe until killed."""
    peers: set[str] = set()  # all that were ever to be asked

    def targets() -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads((folder / "targets.json").read_text())
        peers.update(found)
        return found

    changes = 0

    def on_change(_: object) -> None:
        nonlocal changes
        changes += 1

    probe = Probe(interval, targets, lambda: sources, on_change)
    task = asyncio.create_task(probe.run())
    while not task.done():
        write(folder / "found.json", probe, peers, changes)
        await asyncio.sleep(PERIOD)
    await task


def write(path: Path, probe: Probe, peers: set[str], changes: int) -> None:
    """Replace the file by what is known now."""
    found: dict[str, Any] = {
        "problem": probe.problem,
        "sent": probe.sent,
        "lost": probe.lost,
        "changes": changes,
        "sockets": sum(
            file.readlink().name.startswith("socket:")
            for file in Path("/proc/self/fd").iterdir()
            if file.exists() or file.is_symlink()
        ),
        "results": {
            peer: [dataclasses.asdict(result) for result in results]
            for peer, results in probe.results(peers).items()
        },
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(found))
    temporary.rename(path)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
