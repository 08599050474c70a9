# SPDX-License-Identifier: Apache-2.0
"""Installs Python distributions for an image into a folder, whatever Python runs this.

Only wheels are taken, so nothing is compiled, and another architecture is no harder than one's own.
pip judges the markers of requirements by the Python that runs it; so controller.txt has none, and
none in runtime.txt tells 3.11 from 3.13 (a test compares what is there with what is required).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.13"  # that of base.SUITE
GLIBC = 41  # its glibc, 2.41
CPUS = {"amd64": "x86_64", "arm64": "aarch64"}


def pip(*options: str | Path) -> None:
    """Run pip; what it says goes to standard error."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*command, *options], check=True, stdout=sys.stderr)


def install(arch: str, target: Path, *what: str | Path) -> None:
    """Install into `target` as Python 3.13 on Debian would."""
    # PEP 600: a wheel for an older glibc runs with a newer one.
    platforms = [f"manylinux_2_{minor}_{CPUS[arch]}" for minor in range(GLIBC, 16, -1)]
    platforms.append(f"manylinux2014_{CPUS[arch]}")
    pip(
        *("install", "--no-deps", "--only-binary=:all:", "--no-compile", "--target", target),
        *("--implementation=cp", f"--python-version={PYTHON}"),
        *(f"--platform={platform}" for platform in platforms),
        *what,
    )
    shutil.rmtree(target / "bin", ignore_errors=True)  # scripts with this Python's path


def install_project(arch: str, target: Path) -> None:
    """Install this checkout."""
    with tempfile.TemporaryDirectory(prefix="linen-wheel-") as folder:
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
        # By name: pip would note the path of a file.
        install(arch, target, "--no-index", "--find-links", folder, "linen-cni")


def main() -> None:
    """Fill a folder as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", choices=CPUS)
    parser.add_argument("target", type=Path)
    parser.add_argument("--requirement", type=Path, help="a file [this checkout]")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.target, ignore_errors=True)
    if arguments.requirement:
        pinned = ("--require-hashes", "--requirement", arguments.requirement)
        install(arguments.arch, arguments.target, *pinned)
    else:
        install_project(arguments.arch, arguments.target)


if __name__ == "__main__":
    main()
