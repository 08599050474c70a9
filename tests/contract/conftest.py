# SPDX-License-Identifier: Apache-2.0
"""Contract tests hold our own clients against the real server, and against others' clients."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class OvsdbServer:
    """A real ovsdb-server on a database of its own, that serves nobody else."""

    def __init__(self, folder: Path, schema: Path | str) -> None:
        self.folder = folder
        self.socket = folder / "db.sock"
        self.process: subprocess.Popen[bytes] | None = None
        subprocess.run(["ovsdb-tool", "create", folder / "conf.db", schema], check=True)

    def start(self) -> None:
        """Start the server, on what is in the database."""
        command = ["ovsdb-server", str(self.folder / "conf.db"), f"--remote=punix:{self.socket}"]
        command += [f"--unixctl={self.folder}/ctl", f"--log-file={self.folder}/log"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(self.socket.exists, "ovsdb-server's socket")

    def signal(self, number: int) -> None:
        """Send the server a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the server as a crash would; its socket's file is gone, as after a reboot."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.socket.unlink()


@contextmanager
def running_server(folder: Path, schema: Path | str = SCHEMA) -> Iterator[OvsdbServer]:
    """A server that runs, without any row, for as long as the block lasts."""
    server = OvsdbServer(folder, schema)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def ovsdb_server(short_folder: Path) -> Iterator[OvsdbServer]:
    """A running server whose rows stay as they were written."""
    with running_server(short_folder) as server:
        vsctl = ["ovs-vsctl", f"--db=unix:{server.socket}", "--no-wait", "init"]
        subprocess.run(vsctl, check=True)
        yield server


@pytest.fixture
def ovsdb(ovsdb_server: OvsdbServer) -> str:
    """The socket of a running server."""
    return str(ovsdb_server.socket)
