# SPDX-License-Identifier: Apache-2.0
"""The processes that hold a lab's namespaces, and nothing else.

Run as `python -m linen.lab.keeper FD NAME`, where FD is one end of a socket pair and NAME, for
those who look at `ps`, the lab's.
The lab's keeper is process 1 of a PID namespace that encloses the whole lab, and its network
namespace is the underlay fabric; each node has a keeper too, process 1 of the node's own
namespaces.
So the kernel does the cleaning: when the lab's keeper ends, every process of the lab is killed,
and with the last process go its mounts, files, links and addresses.

Until it reads `keep` from FD, the lab's keeper ends when the other end closes: however the
program that starts a lab may die, no half-made lab is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from linen.lab.namespaces import (
    EVERY_KIND,
    MS_BIND,
    MS_REC,
    MS_SLAVE,
    mount,
    set_host_name,
    unshare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The host's content shows through, but what a node writes there stays in the node.
# It also lets a node have folders that the host lacks, which is what mount points need.
# The host's mounts below are seen only where a node needs them (see `_mount_over`).
OVERLAID = ("/etc", "/opt", "/var")

# Empty at first in each node, whatever the host has there.
PRIVATE = (
    "/etc/cni/net.d",
    "/etc/openvswitch",
    "/opt/cni/bin",
    "/var/lib/cni",
    "/var/log/openvswitch",
)

PLUGINS = Path("/opt/cni/bin")
# What container engines mount in /etc, one by one, and the kernel's own file systems.
_ALWAYS_NEEDED = ("/etc/hosts", "/etc/resolv.conf", "/sys")
_MAX_MESSAGE = 65536


def main() -> NoReturn:
    """Become the lab's keeper."""
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(control.recv(_MAX_MESSAGE))
    os.umask(0o022)  # of nodes; that of the one who starts them may be meant for secrets
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ignored SIGCHLD makes the kernel reap for us, orphans of the namespace included (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with _failures_sent_to(control):
        unshare(EVERY_KIND)
        if os.fork():
            os._exit(0)  # only a child is inside the new PID namespace
        _send(control, ready="")
        # Nothing that is mounted here reaches the host, but what the host unmounts goes here, too:
        # else its devices would stay busy as long as the lab is up (mount_namespaces(7)).
        mount("none", "/", flags=MS_REC | MS_SLAVE)
        for name in order["nodes"]:
            if os.fork() == 0:
                _hold_node(name, order["plugins"], order["needed"], control)
    if control.recv(_MAX_MESSAGE) != b"keep":
        os._exit(0)
    _send(control, kept=True)
    control.close()
    _wait_forever()


def _hold_node(
    name: str, plugins: dict[str, str], needed: list[str], control: socket.socket
) -> NoReturn:
    with _failures_sent_to(control):
        unshare(EVERY_KIND)
        if os.fork():
            os._exit(0)
        set_host_name(name)
        _build_file_system(plugins, [*needed, *_ALWAYS_NEEDED])
        _send(control, ready=name)
    control.close()
    _wait_forever()


def _build_file_system(plugins: dict[str, str], needed: list[str]) -> None:
    """Give the node folders of its own where OVS, CNI and iproute2 keep their state.

    `needed`: paths of the host's that are to be seen in any case.

    Sources are opened first, since a mount may hide them (plugins from the host's /opt/cni/bin).
    """
    sources = {name: os.open(path, os.O_PATH) for name, path in plugins.items()}
    mount("proc", "/proc", "proc")
    layers = "/run"
    mount("tmpfs", layers, "tmpfs", options="mode=0755")
    _mount_over("/sys", needed, "sysfs")
    for target in OVERLAID:
        upper, work = f"{layers}/.upper{target}", f"{layers}/.work{target}"
        Path(upper).mkdir(parents=True)
        Path(work).mkdir(parents=True)
        shutil.copymode(target, upper)  # an overlay's root has the upper folder's
        layers_of = f"lowerdir={target},upperdir={upper},workdir={work}"
        _mount_over(target, needed, "overlay", layers_of)
    for folder in PRIVATE:
        Path(folder).mkdir(parents=True, exist_ok=True)
        mount("tmpfs", folder, "tmpfs", options="mode=0755")
    for folder in ("lock", "netns", "openvswitch"):
        Path("/run", folder).mkdir()
    for name, descriptor in sources.items():
        (PLUGINS / name).touch()
        mount(f"/proc/self/fd/{descriptor}", str(PLUGINS / name), flags=MS_BIND)
        os.close(descriptor)


def _mount_over(target: str, needed: list[str], kind: str, options: str = "") -> None:
    """Mount on `target`, and put back the mounts below it that lead to something `needed`.

    Only those, since what is put back stays when the host unmounts it.
    """
    opened = []
    for path in mount_points(Path("/proc/self/mountinfo").read_bytes()):
        if path.startswith(f"{target}/") and _leads_to(path, needed):
            with contextlib.suppress(FileNotFoundError):  # a later mount covers it already
                opened.append((path, os.open(path, os.O_PATH)))
    mount(kind, target, kind, options=options)
    for path, descriptor in opened:
        mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND)
        os.close(descriptor)


def _leads_to(mount_point: str, needed: list[str]) -> bool:
    """Tell whether something needed is on a mount, or is a folder in which it is mounted."""
    return any(
        Path(path).is_relative_to(mount_point) or Path(mount_point).is_relative_to(path)
        for path in needed
    )


def mount_points(mountinfo: bytes) -> list[str]:
    """List where something is mounted, in the order of mounting (proc_pid_mountinfo(5))."""
    escaped = (line.split()[4] for line in mountinfo.splitlines())
    # Blanks, line breaks and backslashes are \\ooo, in octal; all other bytes are as they are.
    plain = (re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), path) for path in escaped)
    return [os.fsdecode(path) for path in plain]


@contextlib.contextmanager
def _failures_sent_to(control: socket.socket) -> Iterator[None]:
    """Report what goes wrong to the program that started us, then end."""
    try:
        yield
    except OSError as error:
        _send(control, error=str(error), number=error.errno)
        os._exit(1)
    except Exception:  # noqa: BLE001 (whatever it is, it goes to the one who can show it)
        _send(control, error=traceback.format_exc(), number=0)
        os._exit(1)


def _send(control: socket.socket, **message: object) -> None:
    control.send(json.dumps(message).encode())


def _wait_forever() -> NoReturn:
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
