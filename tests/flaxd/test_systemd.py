# SPDX-License-Identifier: Apache-2.0
"""The systemd unit, as systemd itself judges it; test_privileges runs flaxd with its rights."""

from __future__ import annotations

import configparser
import subprocess
from typing import TYPE_CHECKING

from linen.flaxd.main import WRONG_SETTINGS
from support.confinement import UNIT
from support.daemons import FLAXD

if TYPE_CHECKING:
    from pathlib import Path

MOST_EXPOSED = 2.0  # of 10; 9.6 is a service without any restriction


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


def test_unit_is_valid(tmp_path: Path) -> None:
    """The unit has no unknown directive, no wrong value, and a program that can be executed."""
    installed = tmp_path / UNIT.name
    installed.write_text(UNIT.read_text().replace("/usr/local/bin/flaxd", str(FLAXD)))

    done = run("systemd-analyze", "--man=no", "verify", installed)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_unit_is_hardened() -> None:
    """systemd counts little that a hostile flaxd could reach: an exposure of 2 at most."""
    threshold = f"--threshold={MOST_EXPOSED * 10:.0f}"
    done = run("systemd-analyze", "--no-pager", "--offline=true", threshold, "security", UNIT)

    assert done.returncode == 0, done.stdout


def test_unit_never_gives_up() -> None:
    """systemd starts flaxd again and again, at a calm pace, unless its settings are wrong."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]  # as the manual says
    unit.read(UNIT)

    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartSec"] == "5"
    assert unit["Service"]["RestartPreventExitStatus"] == str(WRONG_SETTINGS)


def test_user_of_the_unit(tmp_path: Path) -> None:
    """systemd-sysusers makes the unit's user, without a shell to log in with."""
    (tmp_path / "etc").mkdir()
    users = UNIT.with_suffix(".sysusers.conf")

    done = run("systemd-sysusers", f"--root={tmp_path}", "--inline", *lines_of(users))

    assert done.returncode == 0, done.stderr
    user, _, _, _, _, _, shell = (tmp_path / "etc" / "passwd").read_text().strip().split(":")
    assert f"User={user}" in UNIT.read_text().splitlines()
    assert shell == "/usr/sbin/nologin"


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]
