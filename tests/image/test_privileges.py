# SPDX-License-Identifier: Apache-2.0
"""The image linen in containers, run by runc with what deploy/ lets them have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from contract.conftest import running_server
from linen.host.programs import FLAXD_CHAIN, OF_THE_RUNTIME, ask_versions
from support.images import FLAXD_CAPABILITIES, contain
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

# CAP_DAC_OVERRIDE, CAP_NET_ADMIN and CAP_NET_RAW, as bits (linux/capability.h).
BITS = 1 << 1 | 1 << 12 | 1 << 13
KUBE = 997  # a user that kubespray makes, to whom /opt/cni/bin belongs
READ_STATUS = "print(open('/proc/self/status').read())"


def effective(status: str) -> int:
    """The effective capabilities that a process's status file shows."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(fields["CapEff"], 16)


def test_flaxd_has_its_capabilities(linen_root: Path) -> None:
    """flaxd's interpreter, run by the image's user, has the three capabilities in effect."""
    interpreter = (linen_root / "usr/bin/flaxd").read_text().splitlines()[0].split()[0][2:]
    done = contain(
        linen_root, interpreter, "-I", "-c", READ_STATUS, capabilities=FLAXD_CAPABILITIES
    )
    assert effective(done.stdout) == BITS


def test_other_programs_have_none(linen_root: Path) -> None:
    """Whatever else that user starts in the same container has no capabilities."""
    done = contain(linen_root, "python3", "-I", "-c", READ_STATUS, capabilities=FLAXD_CAPABILITIES)
    assert effective(done.stdout) == 0


def test_linenctl_has_those_of_flaxd(linen_root: Path, short_folder: Path) -> None:
    """Where flaxd has its capabilities linenctl sees what is root's alone, as OVSDB is."""
    mounts = {"/etc/cni/net.d": short_folder / "net.d", "/run/openvswitch": short_folder / "ovs"}
    for inside, folder in mounts.items():
        folder.mkdir(mode=0o700)
        (linen_root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)  # to mount on
    shutil.copy(EXAMPLES / "master.linen.conflist", mounts["/etc/cni/net.d"])
    with running_server(mounts["/run/openvswitch"]) as server:
        subprocess.run(["ovs-vsctl", f"--db=unix:{server.socket}", "--no-wait", "init"], check=True)
        show = ("linenctl", "show")
        seen = contain(linen_root, *show, capabilities=FLAXD_CAPABILITIES, mounts=mounts)
        refused = contain(linen_root, *show, mounts=mounts, check=False)

    assert seen.stdout.startswith("Linen has made nothing on this node")
    assert "Permission denied" in refused.stderr


def test_flaxd_starts(linen_root: Path) -> None:
    """flaxd runs on a read-only file system, by its name alone, and says what it lacks."""
    version = contain(linen_root, "flaxd", "--version", capabilities=FLAXD_CAPABILITIES)
    assert "version" in version.stdout
    wrong = contain(
        linen_root, "flaxd", "--topology=ring", capabilities=FLAXD_CAPABILITIES, check=False
    )
    assert wrong.returncode == 2
    assert "ring" in wrong.stderr


@pytest.fixture
def folders(linen_root: Path, tmp_path: Path) -> dict[str, Path]:
    """The node's folders that the init container mounts, by where; the first is user kube's."""
    folders = {"/opt/cni/bin": tmp_path / "bin", "/var/lib/linen": tmp_path / "state"}
    for inside, folder in folders.items():
        folder.mkdir(mode=0o755)
        (linen_root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)  # to mount on
    os.chown(folders["/opt/cni/bin"], KUBE, KUBE)
    return folders


INSTALL = ("linenctl", "install", "--for-flaxd", "--plugin", "/usr/lib/linen/linen")


def test_init_container_installs(linen_root: Path, folders: dict[str, Path]) -> None:
    """Root with one capability puts all plugins into a folder of another user's; they work."""
    contain(linen_root, *INSTALL, user=0, capabilities=["CAP_DAC_OVERRIDE"], mounts=folders)
    expected = {*FLAXD_CHAIN, OF_THE_RUNTIME}
    there = folders["/opt/cni/bin"]
    assert set(os.listdir(there)) == expected  # noqa: PTH208 (names)
    for name in expected:
        assert "1.1.0" in ask_versions(there / name)


def test_a_folder_that_refuses_is_explained(linen_root: Path, folders: dict[str, Path]) -> None:
    """Without that capability the folder is named, with its owner and what would help."""
    done = contain(linen_root, *INSTALL, user=0, mounts=folders, check=False)
    assert done.returncode == 1
    assert f"user 0 may not write to /opt/cni/bin, which is user {KUBE}'s" in done.stderr
    assert "DAC_OVERRIDE" in done.stderr
    assert os.listdir(folders["/opt/cni/bin"]) == []  # noqa: PTH208 (names)


def test_linenctl_imports_all_it_needs(linen_root: Path) -> None:
    """Every module of Linen, and so all that the distribution left out of Python, is found."""
    walk = """
import importlib, json, pkgutil, linen
names = [m.name for m in pkgutil.walk_packages(linen.__path__, "linen.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps(names))
"""
    done = contain(linen_root, "python3", "-I", "-c", walk)
    assert "linen.flaxd.daemon" in json.loads(done.stdout)
