# SPDX-License-Identifier: Apache-2.0
"""flaxd with the rights that packaging/systemd/flaxd.service gives it, or fewer, without systemd.

User, capabilities, no_new_privs, the filter of system calls, and which folders can be written are
the unit's; they are put into effect by setpriv(1), mounts and libseccomp.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.daemons import Flaxd, Nodes, running_flaxd
from support.paths import CHECKOUT, FROZEN_PLUGIN, GO_TOOLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from support.host import Host

UNIT = CHECKOUT / "packaging" / "systemd" / "flaxd.service"
USER = 65532
INSIDE = Path("/mnt")  # where the daemon finds the checkout and the host's folder
WRITABLE = ("state", "net.d")
PLUGINS = (GO_TOOLS / "bridge", GO_TOOLS / "host-local", GO_TOOLS / "portmap", FROZEN_PLUGIN)


def directive(name: str) -> list[str]:
    """All words that the unit gives a directive, in their order."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    values = [line.removeprefix(f"{name}=") for line in lines if line.startswith(f"{name}=")]
    return " ".join(values).split()


def capabilities() -> list[str]:
    """The unit's capabilities: CAP_NET_ADMIN and so on."""
    return directive("AmbientCapabilities")


def allowed_calls() -> set[str]:
    """The system calls that the unit's filter lets through."""
    allowed: set[str] = set()
    removes = False
    for word in directive("SystemCallFilter"):
        removes = removes or word.startswith("~")
        calls = _calls_of(word.removeprefix("~"))
        allowed = allowed - calls if removes else allowed | calls
    return allowed


def _calls_of(group: str) -> set[str]:
    """The members of a group such as @file-system, as this machine's systemd has it."""
    argv = ["systemd-analyze", "--no-pager", "syscall-filter", group]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    members = {line.strip() for line in lines[1:] if not line.strip().startswith("#")} - {""}
    groups = {member for member in members if member.startswith("@")}
    return (members - groups).union(*map(_calls_of, groups))


@contextmanager
def confined_flaxd(
    host: Host, *, without: Collection[str] = (), writable: Collection[str] = WRITABLE
) -> Iterator[Flaxd]:
    """Node1's daemon in a cluster of two, without some of the unit's capabilities."""
    folder = host.folder
    folder.chmod(0o755)
    for name in ("bin", *WRITABLE):
        (folder / name).mkdir()
    (folder / "state").chmod(0o700)
    shutil.chown(folder / "state", USER, USER)  # as StateDirectory= does
    for plugin in PLUGINS:
        shutil.copy(plugin, folder / "bin")
    nodes = Nodes(folder / "nodes.json", "node1", "node2")
    nodes.path.chmod(0o644)
    inside = INSIDE / "node"
    settings: dict[str, Any] = {
        "node": "node1",
        "peers": inside / "nodes.json",
        "state_dir": inside / "state",
        "conflist": inside / "net.d" / "linen.conflist",
        "bin_dir": inside / "bin",
        "probe_interval": 1,
    }
    with _mount_points(host).open("rb") as points:
        program = _command(folder, writable, [c for c in capabilities() if c not in without])
        with running_flaxd(host, program=program, stdin=points, **settings) as daemon:
            yield daemon


def _mount_points(host: Host) -> Path:
    lines = Path(f"/proc/{host.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
    path = host.folder / "mount-points"
    path.write_text("".join(f"{line.split()[4]}\n" for line in lines))
    return path


def _command(folder: Path, writable: Collection[str], kept: list[str]) -> list[str | Path]:
    script = CHECKOUT / "tests" / "support" / "confined.sh"
    granted = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in kept)])
    linen = INSIDE / "linen"
    return [
        *("unshare", "--mount", script, CHECKOUT, folder, " ".join(writable), granted),
        *("env", f"PYTHONPATH={linen / 'src'}", linen / ".venv" / "bin" / "python"),
        *(linen / "tests" / "support" / "filtered_flaxd.py", ",".join(sorted(allowed_calls()))),
    ]
