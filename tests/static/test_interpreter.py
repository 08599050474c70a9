# SPDX-License-Identifier: Apache-2.0
"""The interpreter inside the binary, which starts only half, against the whole one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.frozen import build, copy_checkout
from support.paths import CHECKOUT

PROBE = Path(__file__).with_name("probe.py")
MODULES = "linen\nlinen.plugin\nlinen.plugin.__main__\n"
ENVIRONMENT = {b"HOSTILE": b"\xff"}


@pytest.fixture
def probe_checkout(tmp_path: Path) -> Path:
    """The sources with the probe in the plugin's place."""
    checkout = copy_checkout(tmp_path / "checkout")
    (checkout / "src/linen/plugin/__main__.py").write_bytes(PROBE.read_bytes())
    (checkout / "packaging/plugin-modules.txt").write_text(MODULES)
    return checkout


def output_of(*argv: str | Path) -> list[bytes]:
    return subprocess.run(
        argv, env=ENVIRONMENT, capture_output=True, check=True, timeout=60
    ).stdout.splitlines()


def test_behaves_like_the_ordinary_interpreter(probe_checkout: Path) -> None:
    """Errors, codecs, limits and conversions are the same frozen and plain."""
    build("--cache", CHECKOUT / ".cache", checkout=probe_checkout)
    main = "import sys; sys.path.insert(0, sys.argv[1]); import linen.plugin.__main__"
    plain = output_of("/usr/bin/python3", "-I", "-S", "-B", "-c", main, probe_checkout / "src")
    assert len(plain) == PROBE.read_text().count("\nattempt(")
    assert output_of(probe_checkout / "bin" / "linen") == plain
