# SPDX-License-Identifier: Apache-2.0
"""Linen's images as scripts/image wrote them: unpacked, and run as containers."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linen import __version__
from support.host import PATIENCE, environment, wait_until
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

IMAGES = ("linen", "linen-ovs", "linen-controller")
# Another folder than scripts/image's, to test images that were built elsewhere.
FOLDER = Path(os.environ.get("TEST_IMAGES", CHECKOUT / "dist"))
LIBRARIES = "usr/local/lib/python3.13/dist-packages"
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
EMULATORS = {"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}
FLAXD_USER = 65532
FLAXD_CAPABILITIES = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_DAC_OVERRIDE")


def archive_of(name: str) -> Path:
    """The OCI archive of an image."""
    path = FOLDER / f"{name}-{__version__}.oci.tar"
    assert path.exists(), f"{path} is not there: run scripts/image"
    return path


class Archive:
    """An OCI archive, read."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            files = {member.name: archive.extractfile(member) for member in archive}
            self.files = {name: file.read() for name, file in files.items() if file}
        self.index: dict[str, Any] = json.loads(self.files["index.json"])

    def read(self, descriptor: Mapping[str, Any]) -> Any:
        """The JSON that a descriptor points at."""
        return json.loads(self.files[path_of(descriptor)])

    def images(self) -> list[dict[str, Any]]:
        """The descriptor of the image for each processor."""
        (top,) = self.index["manifests"]
        return self.read(top)["manifests"] if "index" in top["mediaType"] else [top]


def path_of(descriptor: Mapping[str, Any]) -> str:
    """Where a layout has what a descriptor points at."""
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


class Image:
    """An image for one processor, unpacked."""

    def __init__(self, name: str, archive: Archive, image: Mapping[str, Any], folder: Path) -> None:
        self.name = name
        self.arch: str = image["platform"]["architecture"]
        self.digest: str = image["digest"]
        manifest = archive.read(image)
        self.config = archive.read(manifest["config"])
        self.size = sum(layer["size"] for layer in manifest["layers"])
        self.root = folder
        self.root.mkdir()
        for layer in manifest["layers"]:
            subprocess.run(
                ["tar", "-xpz", "--xattrs", "--xattrs-include=*", "-C", folder],
                input=archive.files[path_of(layer)],
                check=True,
            )

    def bill(self) -> dict[str, Any]:
        """The bill of materials."""
        path = FOLDER / f"{self.name}-{__version__}-{self.arch}.cdx.json"
        bill: dict[str, Any] = json.loads(path.read_text())
        return bill

    def files(self) -> list[Path]:
        """All regular files."""
        return [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]

    def execute(self, path: str, *argv: str) -> str:
        """What a program prints, run in the image, by an emulator where it is foreign."""
        command = [path, *argv]
        with (self.root / path.lstrip("/")).open("rb") as program:
            if program.read(2) == b"#!":  # an emulator runs no scripts
                command = [*program.readline().decode().split(), *command]
        if self.arch == NATIVE:
            return _chroot(self.root, command)
        emulator = self.root / "emulator"
        shutil.copy(Path("/usr/bin", EMULATORS[self.arch]), emulator)
        try:
            return _chroot(self.root, ["/emulator", *command])
        finally:
            emulator.unlink()


def _chroot(root: Path, command: Sequence[str]) -> str:
    done = subprocess.run(
        ["chroot", root, *command],
        check=False,
        capture_output=True,
        text=True,
        env=environment({}),
        timeout=300,  # seconds; emulated, Python takes twenty times as long
    )
    assert done.returncode == 0, f"{command}: status {done.returncode}: {done.stderr}"
    return done.stdout + done.stderr


def contain(
    root: Path,
    *argv: str | Path,
    user: int = FLAXD_USER,
    capabilities: Iterable[str] = (),
    mounts: Mapping[str, Path] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a container on `root`, which is read-only, with what Kubernetes gives it."""
    with tempfile.TemporaryDirectory(prefix="linen-container-") as folder:
        subprocess.run(["runc", "spec", "--bundle", folder], check=True)
        path = Path(folder, "config.json")
        spec = json.loads(path.read_text())
        _adapt(spec, root, argv, user, list(capabilities))
        spec["linux"]["cgroupsPath"] = f"/{Path(folder).name}"
        spec["mounts"] += [
            {"destination": inside, "source": str(outside), "type": "bind", "options": ["bind"]}
            for inside, outside in (mounts or {}).items()
        ]
        path.write_text(json.dumps(spec))
        return subprocess.run(
            ["runc", "--root", f"{folder}/state", "run", "--bundle", folder, Path(folder).name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment({}),
            check=check,
            timeout=60,
        )


def end(container: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> str:
    """Signal process 1 of a container that `Host.start` started by unshare; its log, when it ended.

    That process is below nsenter and unshare, and all others of its namespace end with it.
    """
    wait_until(lambda: _is_signalled(container, how), "process 1 of a container")
    _, log = container.communicate(timeout=PATIENCE)
    return log.decode()


def _is_signalled(container: subprocess.Popen[bytes], how: signal.Signals) -> bool:
    """Signal it, unless it is not there yet, or any more; whether there is nothing left to do."""
    if container.poll() is not None:
        return True
    try:
        os.kill(_child(_child(container.pid)), how)
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False
    return True


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _adapt(
    spec: dict[str, Any],
    root: Path,
    argv: Sequence[str | Path],
    user: int,
    capabilities: list[str],
) -> None:
    spec["root"] = {"path": str(root), "readonly": True}
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "cgroup"]
    spec["process"] |= {
        "terminal": False,
        "args": [str(word) for word in argv],
        "user": {"uid": user, "gid": user},
        "noNewPrivileges": False,  # allowPrivilegeEscalation: true
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
    }
