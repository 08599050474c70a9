# SPDX-License-Identifier: Apache-2.0
"""The static binary alone in an empty root: no /dev, no /proc, no libraries, no time zones."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from support.frozen import call, error_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def in_empty_root(binary: Path, tmp_path: Path) -> list[str]:
    """The command line that runs the binary in a root with nothing else in it.

    The network namespace around it holds the Linux bridge of the pods.
    """
    shutil.copy(binary, tmp_path)
    script = f"ip link add kbr0 type bridge && exec chroot {tmp_path} /linen"
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    return ["/usr/bin/env", path, "unshare", "--net", "sh", "-c", script]


def test_version(in_empty_root: list[str]) -> None:
    """VERSION lists the versions."""
    done = call(in_empty_root, "VERSION")
    assert done.returncode == 0, done
    assert "1.1.0" in json.loads(done.stdout)["supportedVersions"]


def test_add(in_empty_root: list[str]) -> None:
    """ADD misses Open vSwitch, and says where it looked."""
    error = error_of(call(in_empty_root, "ADD"))
    assert error["code"] == 11
    assert "/var/run/openvswitch/db.sock" in error["msg"]


def test_delete(in_empty_root: list[str]) -> None:
    """DEL succeeds in silence."""
    done = call(in_empty_root, "DEL")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
