# SPDX-License-Identifier: Apache-2.0
"""What the build needs of the machine it runs on, and how it gets it.

As root the missing packages are installed; anybody else is told their names. The target
is named as Debian names it (amd64, arm64), its tools carry the GNU triplet as a prefix.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
UNATTENDED = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
APT_INSTALL = (
    *("apt-get", "install", "--yes", "--no-install-recommends"),
    *("--option", "DPkg::Lock::Timeout=300"),  # seconds; a fresh system may be upgrading itself
)


class BuildError(Exception):
    """The build can't go on; the message says why, and what would help."""


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return what it prints; if it fails, show all that it said."""
    result = subprocess.run(
        command,
        cwd=cwd,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **UNATTENDED},
    )
    if result.returncode:
        said = (result.stdout + result.stderr).strip()
        raise BuildError(f"{said}\nfailed with status {result.returncode}: {' '.join(command)}")
    return result.stdout


def native_architecture() -> str:
    """Return Debian's name of this machine's architecture."""
    if not shutil.which("apt-get"):
        raise BuildError("apt-get is missing; build on Debian 12 or 13 or Ubuntu 24.04")
    return run("dpkg", "--print-architecture").strip()


def python_package_version(version: str) -> str:
    """Return the package version of /usr/bin/python3, which is of release `version`."""
    return run("dpkg-query", "--show", "--showformat", "${Version}", f"python{version}-minimal")


def tool(arch: str, name: str) -> str:
    """Return the command of a compiler's tool, such as gcc, for `arch`."""
    return f"{TRIPLETS[arch]}-{name}"


def emulator(arch: str) -> list[str]:
    """Return what runs a program for `arch` on this machine: nothing where it is of that kind."""
    if arch == native_architecture():
        return []
    name = f"qemu-{TRIPLETS[arch].partition('-')[0]}"  # of qemu-user; -static: of qemu-user-static
    return [f"{name}-static" if shutil.which(f"{name}-static") else name]


def ensure_toolchain(arch: str) -> None:
    """Make sure that static programs for `arch` can be made here, and run."""
    cpu = TRIPLETS[arch].partition("-")[0].replace("_", "-")
    packages = []
    if not _has_static_libc(arch):
        is_native = arch == native_architecture()
        cross = [f"gcc-{cpu}-linux-gnu", f"libc6-dev-{arch}-cross"]
        packages += ["gcc", "libc6-dev"] if is_native else cross
    if not all(shutil.which(program) for program in emulator(arch)):
        packages.append("qemu-user")
    if packages:
        _install(packages)


def _install(packages: list[str]) -> None:
    if os.geteuid() != 0:
        raise BuildError(f"missing on this machine: apt-get install {' '.join(packages)}")
    print(f"installing {' and '.join(packages)}", flush=True)
    try:
        run(*APT_INSTALL, *packages)
    except BuildError:  # the lists of packages are missing or out of date
        run("apt-get", "update")
        run(*APT_INSTALL, *packages)


def _has_static_libc(arch: str) -> bool:
    if not shutil.which(tool(arch, "gcc")):
        return False
    # gcc answers with a path if it has the file, and repeats the bare name if not
    return "/" in run(tool(arch, "gcc"), "-print-file-name=libc.a")
