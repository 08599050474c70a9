# SPDX-License-Identifier: Apache-2.0
"""Starting, keeping and killing the keeper processes of a lab (the other side of `keeper`)."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import linen
from linen.lab.errors import LabError
from linen.lab.process import Process
from linen.lab.programs import search_path

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_MESSAGE = 65536
_START_DEADLINE = 60  # seconds, for all nodes of a large lab
_ADVICE = {
    errno.EPERM: " (inside a container it takes one with all privileges: docker run --privileged)",
    errno.ENODEV: " (the kernel lacks this file system: modprobe overlay)",
}
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)


class Keepers:
    """The keepers of one lab: `lab` of the whole, `nodes` by name.

    As long as this object has not been told to `keep`, the lab ends with this program.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self.nodes: dict[str, Process] = {}
        self.lab: Process | None = None
        self._control, self._far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The kernel then tells who sent each message, with a process id that is valid here.
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the lab, unless `keep` was called before."""
        self._control.close()
        self._far_end.close()

    def start(self, name: str, node_names: Sequence[str], plugins: dict[str, Path]) -> Process:
        """Start all keepers and wait until they hold their namespaces; return the lab's.

        LabError tells why it did not work.
        """
        self._control.send(
            json.dumps(
                {
                    "nodes": list(node_names),
                    "plugins": {plugin: str(path) for plugin, path in plugins.items()},
                    "needed": _needed(),
                }
            ).encode()
        )
        descriptor = self._far_end.fileno()
        with self._far_end:
            subprocess.run(
                [sys.executable, "-S", "-m", "linen.lab.keeper", str(descriptor), name],
                check=False,  # it tells its failure by the socket
                pass_fds=[descriptor],
                env={"PYTHONPATH": str(Path(linen.__file__).resolve().parents[1])},
                cwd="/",
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + _START_DEADLINE
        while self.lab is None or len(self.nodes) < len(node_names):
            message, sender = self._receive(deadline)
            if "error" in message:
                advice = _ADVICE.get(message["number"], "")
                raise LabError(f"the lab's namespaces cannot be made: {message['error']}{advice}")
            if message["ready"]:
                self.nodes[message["ready"]] = Process.of(sender)
            else:
                self.lab = Process.of(sender)
        return self.lab

    def keep(self) -> None:
        """Let the lab outlive this program."""
        self._control.send(b"keep")
        self._receive(time.monotonic() + _START_DEADLINE)

    def _receive(self, deadline: float) -> tuple[dict[str, Any], int]:
        self._control.settimeout(max(0.0, deadline - time.monotonic()))
        space = socket.CMSG_SPACE(_UCRED.size)
        try:
            data, ancillary, _, _ = self._control.recvmsg(_MAX_MESSAGE, space)
        except TimeoutError as error:
            raise LabError(f"the lab's keepers do not answer for {_START_DEADLINE} s") from error
        if not data:
            raise LabError("the lab's keeper ended without a word")
        pid, _, _ = _UCRED.unpack(ancillary[0][2])
        return json.loads(data), pid


def _needed() -> list[str]:
    """Name the host's folders that a node's programs come from: of PATH, Python's and our own."""
    folders = {Path(linen.__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)}
    folders |= {Path(entry) for entry in search_path().split(":") if entry.startswith("/")}
    return sorted({str(path) for folder in folders for path in (folder, folder.resolve())})


def open_network_namespace(process: Process) -> int:
    """Open a process's network namespace; the descriptor is the caller's to close."""
    return os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY)
