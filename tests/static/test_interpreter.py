# SPDX-License-Identifier: Apache-2.0
"""The interpreter inside the binary, started half and long ago, against the ordinary one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.frozen import build, call, copy_checkout, error_of
from support.paths import CHECKOUT

PROBE = Path(__file__).with_name("probe.py")
MODULES = "linen\nlinen.plugin\nlinen.plugin.main\n"
ENVIRONMENT = {b"HOSTILE": b"\xff"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Sources whose plugin is one module, to be written by the test."""
    copy = copy_checkout(tmp_path / "checkout")
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
    main = "import sys; sys.path.insert(0, sys.argv[1]); from linen.plugin.main import run; run()"
    plain = output_of("/usr/bin/python3", "-I", "-S", "-B", "-c", main, checkout / "src")
    assert len(plain) == probe.count("\n    attempt(")
    assert output_of(binary) == plain


RAISE = """
def run():
    raise {}
"""


@pytest.mark.parametrize(
    ("main", "details", "stderr"),
    [
        (
            RAISE.format("ValueError('a \"quoted\" text')"),
            "ValueError",
            b'linen: a "quoted" text\n',
        ),
        (RAISE.format("MemoryError"), "MemoryError", b"linen: \n"),
        ("pass", "AttributeError", b"linen: module 'linen.plugin.main' has no attribute 'run'\n"),
    ],
)
def test_plugin_fails(checkout: Path, main: str, details: str, stderr: bytes) -> None:
    """Whatever the plugin lets through becomes CNI's error object, without a traceback."""
    done = call([build_with(main, checkout)], "ADD")
    error = error_of(done)
    assert (error["code"], error["details"]) == (999, details)
    assert done.stderr == stderr


REMEMBER = """
import posix
calls = []

def run():
    calls.append(posix.environ.get(b"CNI_COMMAND", b"none"))
    posix.write(1, b" ".join(calls) + b", %d variables" % len(posix.environ))
    return 0
"""


def test_each_call_begins_anew(checkout: Path) -> None:
    """A call finds its own environment, and nothing of an earlier call or of the build."""
    binary = build_with(REMEMBER, checkout)
    assert call([binary], "ADD").stdout == b"ADD, 5 variables"
    assert call([binary], "DEL").stdout == b"DEL, 5 variables"
    assert subprocess.run([binary], env={}, stdout=subprocess.PIPE, check=True).stdout == (
        b"none, 0 variables"
    )


def test_module_fails(checkout: Path) -> None:
    """A module that cannot be imported is no surprise on a node: it stops the build."""
    with pytest.raises(subprocess.CalledProcessError):
        build_with("raise ValueError", checkout)
    assert not (checkout / "bin").exists()
