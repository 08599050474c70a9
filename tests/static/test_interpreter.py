# SPDX-License-Identifier: Apache-2.0
"""The interpreter inside the binary, which starts only half, against the whole one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.frozen import build, call, copy_checkout, error_of
from support.paths import CHECKOUT

PROBE = Path(__file__).with_name("probe.py")
MODULES = "linen\nlinen.plugin\nlinen.plugin.main\nlinen.plugin.other\n"
ENVIRONMENT = {b"HOSTILE": b"\xff"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Sources whose plugin is two modules, one of them to be written by the test."""
    copy = copy_checkout(tmp_path / "checkout")
    (copy / "src/linen/plugin/other.py").write_text("raise ValueError('executed')\n")
    (copy / "packaging/plugin-modules.txt").write_text(MODULES)
    return copy


def build_with(main: str, checkout: Path) -> Path:
    """Build a binary with `main` in the plugin's place."""
    (checkout / "src/linen/plugin/main.py").write_text(main)
    build("--cache", CHECKOUT / ".cache", checkout=checkout)
    return checkout / "bin" / "linen"


def output_of(*argv: str | Path) -> list[bytes]:
    return subprocess.run(
        argv, env=ENVIRONMENT, capture_output=True, check=True, timeout=60
    ).stdout.splitlines()


def test_behaves_like_the_ordinary_interpreter(checkout: Path) -> None:
    """Errors, codecs, limits and conversions are the same frozen and plain."""
    probe = PROBE.read_text()
    binary = build_with(probe, checkout)
    main = "import sys; sys.path.insert(0, sys.argv[1]); import linen.plugin.main"
    plain = output_of("/usr/bin/python3", "-I", "-S", "-B", "-c", main, checkout / "src")
    assert len(plain) == probe.count("\nattempt(")
    assert output_of(binary) == plain


@pytest.mark.parametrize(
    ("main", "details", "stderr"),
    [
        ("raise ValueError('a \"quoted\" text')", "ValueError", b'linen: a "quoted" text\n'),
        ("raise MemoryError", "MemoryError", b"linen: \n"),
        ("pass", "AttributeError", b"linen: module 'linen.plugin.main' has no attribute 'run'\n"),
    ],
)
def test_plugin_fails(checkout: Path, main: str, details: str, stderr: bytes) -> None:
    """Whatever the plugin lets through becomes CNI's error object, without a traceback."""
    done = call([build_with(main, checkout)], "ADD")
    error = error_of(done)
    assert (error["code"], error["details"]) == (999, details)
    assert done.stderr == stderr


USE_OTHER = """
from linen.plugin import other

def run():
    try:
        other.anything
    except ValueError:
        other.anything
"""


def test_module_is_executed_when_it_is_used(checkout: Path) -> None:
    """A module that fails does so where it is used, not where it is imported, and each time."""
    done = call([build_with(USE_OTHER, checkout)], "ADD")
    assert error_of(done)["details"] == "ValueError"
    assert done.stderr == b"linen: executed\n"
