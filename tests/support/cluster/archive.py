# SPDX-License-Identifier: Apache-2.0
"""Container images without a registry: an OCI image layout in one file, for ctr and podman.

The format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md, with one layer.
Equal content gives equal bytes: no times, no owners but root.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MEDIA_TYPE = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Go's names for the kernel's


class Layer:
    """The files of an image. What is put first at a path stays."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w")  # noqa: SIM115 (closed by `done`)
        self._paths: set[str] = set()

    def folder(self, path: str, mode: int = 0o755) -> None:
        """An empty folder."""
        if entry := self._entry(path, mode):
            entry.type = tarfile.DIRTYPE
            self._tar.addfile(entry)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        if entry := self._entry(path, 0o777):
            entry.type = tarfile.SYMTYPE
            entry.linkname = target
            self._tar.addfile(entry)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file."""
        if entry := self._entry(path, mode):
            entry.size = len(content)
            self._tar.addfile(entry, io.BytesIO(content))

    def program(self, path: str, source: Path) -> None:
        """A program of this machine, with the shared libraries that it needs, if any."""
        self.file(path, source.read_bytes(), 0o755)
        for library in _libraries(source):
            self.file(library, Path(library).read_bytes(), 0o755)

    def done(self) -> bytes:
        """The layer as a tar archive."""
        self._tar.close()
        return self._bytes.getvalue()

    def _entry(self, path: str, mode: int) -> tarfile.TarInfo | None:
        if path in self._paths:
            return None
        self._paths.add(path)
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.mode = mode
        return entry


def write(
    path: Path, name: str, layer: Layer, command: Sequence[str], arguments: Sequence[str] = ()
) -> None:
    """Write the image `name` with one layer, whose containers run `command`.

    `arguments`: what a pod that gives it none of its own runs it with.
    """
    blobs: dict[str, bytes] = {}

    def blob(kind: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        size = len(content)
        return {"mediaType": f"{_MEDIA_TYPE}.{kind}", "digest": f"sha256:{digest}", "size": size}

    content = blob("layer.v1.tar", layer.done())
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
        "config": {"Env": ["PATH=/bin"], "Entrypoint": list(command), "Cmd": list(arguments)},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA_TYPE}.manifest.v1+json",
        "config": blob("config.v1+json", json.dumps(config).encode()),
        "layers": [content],
    }
    index = blob("manifest.v1+json", json.dumps(manifest).encode())
    index["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    }
    files = {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
    files["oci-layout"] = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [index]}).encode()
    _write_tar(path, files.items())


def _write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _libraries(program: Path) -> list[str]:
    """The paths of a program's shared libraries, its loader included; none if it is static."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if "not a dynamic executable" in done.stderr or "statically linked" in done.stdout:
        return []
    assert done.returncode == 0, f"ldd {program}: {done.stderr}"
    return [word for word in done.stdout.split() if word.startswith("/")]
