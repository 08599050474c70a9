# SPDX-License-Identifier: Apache-2.0
"""scripts/demo takes down what it has started, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.paths import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

# Notes what it is asked for, and fails at the sub-command FAILING.
LINENCTL = '#!/bin/sh\necho "$2" >>calls\n[ "$2" != "$FAILING" ]\n'
NOTHING = "#!/bin/sh\n"


def commands_of_demo(checkout: Path, failing: str, *options: str) -> list[str]:
    """Run the demo in a checkout that it finds set up; return the commands of the lab it ran."""
    stubs = {".venv/bin/linenctl": LINENCTL}
    stubs |= dict.fromkeys(("scripts/setup", "build.sh", "bin/linen"), NOTHING)
    for name, content in stubs.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    for name in ("demo", "common.sh"):
        shutil.copy(CHECKOUT / "scripts" / name, checkout / "scripts")
    demo = [str(checkout / "scripts/demo"), *options]
    environment = {"PATH": "/usr/bin:/bin", "FAILING": failing}
    done = subprocess.run(demo, env=environment, capture_output=True, check=False, timeout=30)
    assert (done.returncode == 0) == (not failing)
    return (checkout / "calls").read_text().split()


@pytest.mark.parametrize("option", [[], ["--keep"]])
def test_the_lab_of_another_run_stays(tmp_path: Path, option: list[str]) -> None:
    """A demo that cannot start its lab, since another's is up, leaves that alone."""
    assert commands_of_demo(tmp_path, "up", *option) == ["up"]


@pytest.mark.parametrize(
    ("failing", "options"), [("add-pod", []), ("ping-matrix", ["--keep"]), ("", [])]
)
def test_its_own_lab_goes(tmp_path: Path, failing: str, options: list[str]) -> None:
    """The lab that a demo has started is taken down at its end, also if something fails."""
    assert commands_of_demo(tmp_path, failing, *options)[-1] == "down"


def test_its_own_lab_is_kept(tmp_path: Path) -> None:
    """With --keep the lab stays when all went well."""
    assert "down" not in commands_of_demo(tmp_path, "", "--keep")
