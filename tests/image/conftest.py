# SPDX-License-Identifier: Apache-2.0
"""The images of dist/, each for every processor that it was built for, unpacked once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.images import IMAGES, NATIVE, Archive, Image, archive_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def images() -> Iterator[list[Image]]:
    """All of them."""
    with tempfile.TemporaryDirectory(prefix="linen-images-") as folder:
        found = []
        for name in IMAGES:
            archive = Archive(archive_of(name))
            for image in archive.images():
                arch = image["platform"]["architecture"]
                found.append(Image(name, archive, image, Path(folder, f"{name}-{arch}")))
        yield found


@pytest.fixture(scope="session")
def native(images: list[Image]) -> dict[str, Image]:
    """Those for this machine's processor, by name."""
    found = {image.name: image for image in images if image.arch == NATIVE}
    if len(found) != len(IMAGES):
        pytest.fail(f"dist/ has no images for {NATIVE}: run scripts/image")
    return found


@pytest.fixture(scope="session")
def linen_root(native: dict[str, Image]) -> Path:
    """The root file system of the image linen."""
    return native["linen"].root
