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
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from linen.lab.namespaces import (
    EVERY_KIND,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    mount,
    set_host_name,
    unshare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The host's content shows through, but what a node writes there stays in the node.
# It also lets a node have folders that the host lacks, which is what mount points need.
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
_MAX_MESSAGE = 65536


def main() -> NoReturn:
    """Become the lab's keeper."""
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(control.recv(_MAX_MESSAGE))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ignored SIGCHLD makes the kernel reap for us, orphans of the namespace included (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with _failures_sent_to(control):
        unshare(EVERY_KIND)
        if os.fork():
            os._exit(0)  # only a child is inside the new PID namespace
        _send(control, ready="")
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        for name in order["nodes"]:
            if os.fork() == 0:
                _hold_node(name, order["plugins"], control)
    if control.recv(_MAX_MESSAGE) != b"keep":
        os._exit(0)
    _send(control, kept=True)
    control.close()
    _wait_forever()


def _hold_node(name: str, plugins: dict[str, str], control: socket.socket) -> NoReturn:
    with _failures_sent_to(control):
        unshare(EVERY_KIND)
        if os.fork():
            os._exit(0)
        set_host_name(name)
        _build_file_system(plugins)
        _send(control, ready=name)
    control.close()
    _wait_forever()


def _build_file_system(plugins: dict[str, str]) -> None:
    """Give the node folders of its own where OVS, CNI and iproute2 keep their state.

    Sources are opened first, since a mount may hide them (plugins from the host's /opt/cni/bin).
    """
    sources = {name: os.open(path, os.O_PATH) for name, path in plugins.items()}
    mount("proc", "/proc", "proc")
    layers = "/run"
    mount("tmpfs", layers, "tmpfs", options="mode=0755")
    _mount_over("/sys", "sysfs")
    for target in OVERLAID:
        upper, work = f"{layers}/.upper{target}", f"{layers}/.work{target}"
        Path(upper).mkdir(parents=True)
        Path(work).mkdir(parents=True)
        _mount_over(target, "overlay", f"lowerdir={target},upperdir={upper},workdir={work}")
    for folder in PRIVATE:
        Path(folder).mkdir(parents=True, exist_ok=True)
        mount("tmpfs", folder, "tmpfs", options="mode=0755")
    for folder in ("lock", "netns", "openvswitch"):
        Path("/run", folder).mkdir()
    for name, descriptor in sources.items():
        (PLUGINS / name).touch()
        mount(f"/proc/self/fd/{descriptor}", str(PLUGINS / name), flags=MS_BIND)
        os.close(descriptor)


def _mount_over(target: str, kind: str, options: str = "") -> None:
    """Mount on `target`, and put back the mounts below it, which would vanish from sight."""
    opened = []
    for path in _mount_points():
        if path.startswith(f"{target}/"):
            with contextlib.suppress(FileNotFoundError):  # a later mount covers it already
                opened.append((path, os.open(path, os.O_PATH)))
    mount(kind, target, kind, options=options)
    for path, descriptor in opened:
        mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND)
        os.close(descriptor)


def _mount_points() -> list[str]:
    """List where something is mounted, in the order of mounting (proc_pid_mountinfo(5))."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


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
