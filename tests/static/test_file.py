# SPDX-License-Identifier: Apache-2.0
"""The static binary as a file: small, free of the host, and the same wherever it is built."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.frozen import build, copy_checkout
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

A_SUMMER_DAY_IN_2001 = 1_000_000_000


def test_size(binary: Path) -> None:
    """The file has at most 9 MB."""
    assert binary.stat().st_size <= 9_000_000


def test_static(binary: Path) -> None:
    """The file names no dynamic loader and no shared library."""
    described = subprocess.run(
        ["readelf", "--wide", "--program-headers", "--dynamic", binary],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "LOAD" in described
    assert "INTERP" not in described
    assert "There is no dynamic section in this file." in described


def test_no_build_path(binary: Path) -> None:
    """The file doesn't tell where it was built."""
    assert os.fsencode(CHECKOUT) not in binary.read_bytes()


@pytest.fixture
def another_checkout(tmp_path: Path) -> Path:
    """The same sources elsewhere, with other times and other permissions."""
    copy = copy_checkout(tmp_path / "another" / "checkout")
    for path in copy.rglob("*"):
        os.utime(path, (A_SUMMER_DAY_IN_2001, A_SUMMER_DAY_IN_2001))
    return copy


@pytest.fixture
def another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that Python and libc read when they start."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("PYTHONHASHSEED", "2017")


@pytest.mark.usefixtures("another_environment")
def test_reproducible(binary: Path, another_checkout: Path) -> None:
    """Another folder, time, umask and environment give the same bytes and permissions."""
    build("--cache", CHECKOUT / ".cache", checkout=another_checkout, umask=0o077)
    twin = another_checkout / "bin" / "linen"
    assert twin.read_bytes() == binary.read_bytes()
    assert twin.stat().st_mode == binary.stat().st_mode == 0o100755
