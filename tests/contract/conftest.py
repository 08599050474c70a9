# SPDX-License-Identifier: Apache-2.0
"""Contract tests hold our own clients against the real server, and against others' clients."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


@pytest.fixture
def ovsdb(short_folder: Path) -> Iterator[str]:
    """The socket of a real ovsdb-server that serves nobody else: rows stay as they were written."""
    database, socket = short_folder / "conf.db", short_folder / "db.sock"
    subprocess.run(["ovsdb-tool", "create", database, SCHEMA], check=True)
    command = ["ovsdb-server", str(database), f"--remote=punix:{socket}"]
    command += [f"--unixctl={short_folder}/ctl", f"--log-file={short_folder}/log"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(socket.exists, "ovsdb-server's socket")
            vsctl = ["ovs-vsctl", f"--db=unix:{socket}", "--no-wait", "init"]
            subprocess.run(vsctl, check=True)
            yield str(socket)
        finally:
            server.terminate()
