# SPDX-License-Identifier: Apache-2.0
"""Writes an OCI archive: one image, for one or more processors, under a name that runtimes take.

buildah's own archives lack what `ctr images import` needs to find the name, and its lists of images
are not the same twice. The format: https://github.com/opencontainers/image-spec, image-layout.md.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
Descriptor = dict[str, Any]


def encoded(value: object) -> bytes:
    """JSON, the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Archive:
    """The blobs of some layouts, as one layout in a tar file."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Path] = {
            "oci-layout": encoded({"imageLayoutVersion": "1.0.0"})
        }

    def take(self, layout: Path) -> Descriptor:
        """Take all blobs of a layout that holds one image, and describe that image."""
        (image,) = json.loads((layout / "index.json").read_bytes())["manifests"]
        for blob in (layout / "blobs/sha256").iterdir():
            self.files[f"blobs/sha256/{blob.name}"] = blob
        manifest = self._read(image["digest"])
        config = self._read(manifest["config"]["digest"])
        return {
            **{key: image[key] for key in ("mediaType", "digest", "size")},
            "platform": {key: config[key] for key in ("architecture", "os")},
        }

    def _read(self, digest: str) -> Any:  # noqa: ANN401 (JSON)
        blob = self.files[f"blobs/sha256/{digest.removeprefix('sha256:')}"]
        return json.loads(blob.read_bytes() if isinstance(blob, Path) else blob)

    def list_images(self, images: list[Descriptor]) -> Descriptor:
        """Add a list of the same image for several processors, and describe the list."""
        content = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": images})
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": INDEX, "digest": f"sha256:{digest}", "size": len(content)}

    def name(self, image: Descriptor, name: str) -> None:
        """Say what the archive holds, and what it is called, in both ways that runtimes know."""
        annotations = {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        }
        index = {"schemaVersion": 2, "manifests": [{**image, "annotations": annotations}]}
        self.files["index.json"] = encoded(index)

    def write(self, output: Path) -> None:
        """Write the tar file, the same for the same content."""
        unfinished = output.with_name(f".{output.name}.new")
        with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as archive:
            for path, content in sorted(self.files.items()):
                data = content.read_bytes() if isinstance(content, Path) else content
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, io.BytesIO(data))
        unfinished.replace(output)


def main() -> None:
    """Write the archive that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("layouts", type=Path, nargs="+", help="one for each processor")
    parser.add_argument("--name", required=True, help="REGISTRY/REPOSITORY:TAG")
    arguments = parser.parse_args()
    archive = Archive()
    images = [archive.take(layout) for layout in arguments.layouts]
    archive.name(images[0] if len(images) == 1 else archive.list_images(images), arguments.name)
    archive.write(arguments.output)


if __name__ == "__main__":
    main()
