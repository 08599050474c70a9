# SPDX-License-Identifier: Apache-2.0
"""Finishes a root file system whose packages were unpacked without dpkg: mmdebstrap's extract hook.

dpkg's status and lists of files say what is there, to scanners and to the bill of materials.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path


def ask(*options: str | Path) -> str:
    """What dpkg-deb prints."""
    done = subprocess.run(["dpkg-deb", *options], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def contents(package: Path) -> list[str]:
    """The paths that a package unpacks, as dpkg writes them."""
    command: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", package]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as dpkg,
        tarfile.open(fileobj=dpkg.stdout, mode="r|") as archive,
    ):
        return [name.removeprefix(".") or "/." for name in archive.getnames()]


def record(root: Path, package: Path) -> str:
    """Note which files of a package are there, and return its paragraph of dpkg's status."""

    def is_there(path: str) -> bool:
        return os.path.lexists(root / path.lstrip("/"))

    name, arch, multi = (
        ask("--field", package, field).strip()
        for field in ("Package", "Architecture", "Multi-Arch")
    )
    label = f"{name}:{arch}" if multi == "same" else name
    info = root / "var/lib/dpkg/info"
    paths = [path for path in contents(package) if is_there(path)]
    (info / f"{label}.list").write_text("".join(f"{path}\n" for path in paths))
    sums = ask("--info", package, "md5sums").splitlines()
    sums = [line for line in sums if is_there(line.split("  ", 1)[1])]
    (info / f"{label}.md5sums").write_text("".join(f"{line}\n" for line in sums))
    first, rest = ask("--field", package).split("\n", 1)
    return f"{first}\nStatus: install ok installed\n{rest.rstrip()}\n\n"


def tidy(root: Path) -> None:
    """Undo what mmdebstrap does for apt and for the programs of a whole system."""
    for folder in ("etc/apt", "etc/dpkg/dpkg.cfg.d", "var/cache/apt", "var/lib/apt", "var/log/apt"):
        shutil.rmtree(root / folder)
    files = [root / "etc" / name for name in ("fstab", "hostname", "resolv.conf")]
    for path in (*files, *(root / "tmp").iterdir()):
        path.unlink()


def link(root: Path) -> None:
    """Make the links that maintainer scripts of base-files and openvswitch-switch make."""
    for folder, target in {"run": "/run", "lock": "/run/lock"}.items():
        if (root / "var" / folder).is_dir():
            (root / "var" / folder).rmdir()
            (root / "var" / folder).symlink_to(target)
    daemon = "usr/lib/openvswitch-switch/ovs-vswitchd"
    if (root / daemon).exists():
        (root / "usr/sbin/ovs-vswitchd").symlink_to(f"/{daemon}")


def main(root: Path) -> None:
    """Finish the root file system in folder `root`."""
    archives = sorted((root / "var/cache/apt/archives").glob("*.deb"))
    status = "".join(record(root, package) for package in archives)
    (root / "var/lib/dpkg/status").write_text(status)
    link(root)
    tidy(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
