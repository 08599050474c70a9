# SPDX-License-Identifier: Apache-2.0
"""Labs in tests: `linenctl lab` as a program, and what of a lab is still there."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linen.lab import store
from linen.lab.process import Process
from support.paths import LINENCTL

if TYPE_CHECKING:
    from linen.lab.node import Node

_numbers = itertools.count(1)

# Folders of the host that a node has of its own; a lab must leave the host's alone.
_HOST_FOLDERS = ("/etc/cni", "/etc/openvswitch", "/opt/cni", "/var/lib/cni", "/var/log/openvswitch")
_RESERVATIONS = "var/lib/cni/networks"


def fresh_name() -> str:
    """A lab name that nobody else on this machine has."""
    return f"test-{os.getpid()}-{next(_numbers)}"


def start_linenctl(*argv: str) -> subprocess.Popen[str]:
    """Start `linenctl ARGV` in a session of its own."""
    return subprocess.Popen(
        [*LINENCTL, *argv], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def linenctl(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `linenctl ARGV` to its end."""
    return subprocess.run(
        [*LINENCTL, *argv], input=stdin, capture_output=True, text=True, check=False, timeout=90
    )


def plain_network(name: str, subnet: str, **bridge: object) -> dict[str, Any]:
    """A network of a Linux bridge alone."""
    ipam = {"type": "host-local", "subnet": subnet}
    plugin = {"type": "bridge", "bridge": f"br-{name}", "ipam": ipam, **bridge}
    return {"cniVersion": "1.0.0", "name": name, "plugins": [plugin]}


def reservations(node: Node) -> list[str]:
    """The addresses that host-local has given away on a node, in all networks."""
    files = (node.root / _RESERVATIONS).rglob("*.*.*.*")
    return sorted(path.name for path in files)


def keepers_of(lab: str) -> list[int]:
    """The process ids of a lab's keepers, zombies not counted."""
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and _command_line(path)[-3::2] == ["linen.lab.keeper", lab]
    ]


def processes_of(lab: str) -> list[Process]:
    """All processes that are in a namespace of the lab now."""
    keepers = {namespace for pid in keepers_of(lab) for namespace in _namespaces_of(pid)}
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [Process.of(pid) for pid in pids if _namespaces_of(pid) & keepers]


def alive(processes: list[Process]) -> list[Process]:
    """Those processes that have not ended.

    (Looking at namespaces again would not do: the kernel gives their numbers to new ones.)
    """
    return [process for process in processes if process.is_alive()]


def _namespaces_of(pid: int) -> set[str]:
    try:
        folder = Path(f"/proc/{pid}/ns")
        return {str((folder / kind).readlink()) for kind in ("net", "mnt")}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()  # one that has just ended, or one of the machine's own


def host_state() -> dict[str, object]:
    """What a lab could leave behind on the host: mounts, named namespaces, links, files."""
    return {
        "mounts": Path("/proc/self/mountinfo").read_text().splitlines(),
        "namespaces": _listing("/run/netns"),
        "links": sorted(os.listdir("/sys/class/net")),  # noqa: PTH208 (names, not paths)
        "files": {folder: _listing(folder) for folder in _HOST_FOLDERS},
    }


def state_folder_exists(lab: str) -> bool:
    """Whether a lab's folder below /run/linen-lab is there."""
    return store.folder_of(lab).exists()


def _listing(folder: str) -> list[str] | None:
    path = Path(folder)
    return sorted(str(one) for one in path.rglob("*")) if path.exists() else None


def _command_line(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []
