# SPDX-License-Identifier: Apache-2.0
"""What is installed by pip is complete: a wheel carries more than Python modules."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from support.paths import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path


def test_manifests_travel_with_linenctl(tmp_path: Path) -> None:
    """Each file of deploy/ is in the wheel, unchanged, where `linenctl install` looks for it."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {
            name.removeprefix("linen/deploy/"): archive.read(name)
            for name in archive.namelist()
            if name.startswith("linen/deploy/")
        }

    deploy = CHECKOUT / "deploy"
    files = [path for path in deploy.rglob("*") if path.is_file()]
    assert packed == {str(path.relative_to(deploy)): path.read_bytes() for path in files}
