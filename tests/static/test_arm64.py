# SPDX-License-Identifier: Apache-2.0
"""The binary for arm64, cross-built here and run by an emulator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.frozen import build, call

if TYPE_CHECKING:
    from pathlib import Path

EMULATOR = "/usr/bin/qemu-aarch64-static"


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The command line that runs a fresh build for arm64."""
    output = tmp_path_factory.mktemp("arm64") / "linen"
    build("--arch", "arm64", "--output", output)
    return [EMULATOR, output]


def test_version(emulated: list[str | Path]) -> None:
    """VERSION lists the versions."""
    done = call(emulated, "VERSION")
    assert done.returncode == 0, done
    assert "1.1.0" in json.loads(done.stdout)["supportedVersions"]


def test_delete(emulated: list[str | Path]) -> None:
    """DEL succeeds in silence."""
    done = call(emulated, "DEL")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
