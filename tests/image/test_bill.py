# SPDX-License-Identifier: Apache-2.0
"""The bills of materials beside the images, compared with what other tools find in them."""

from __future__ import annotations

import subprocess
from importlib.metadata import distributions
from typing import TYPE_CHECKING

from packageurl import PackageURL

from support.images import LIBRARIES

if TYPE_CHECKING:
    from support.images import Image


def listed(image: Image, kind: str) -> set[tuple[str, str]]:
    """Names and versions of a bill's components whose package URL is of a kind."""
    urls = [PackageURL.from_string(part["purl"]) for part in image.bill()["components"]]
    return {
        ("/".join(filter(None, (url.namespace, url.name))), url.version or "")
        for url in urls
        if url.type == kind
    }


def test_every_debian_package_is_listed(images: list[Image]) -> None:
    """The bill has the packages that dpkg-query finds in the image."""
    for image in images:
        done = subprocess.run(
            ["dpkg-query", f"--admindir={image.root}/var/lib/dpkg", "--show"],
            check=True,
            capture_output=True,
            text=True,
        )
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        expected = {(f"debian/{name.partition(':')[0]}", version) for name, version in rows}
        assert len(expected) > 10
        assert listed(image, "deb") == expected


def test_every_file_belongs_to_a_package(images: list[Image]) -> None:
    """dpkg's lists account for all files below /usr/bin, /usr/sbin and the libraries' folder."""
    for image in images:
        lists = (image.root / "var/lib/dpkg/info").glob("*.list")
        owned = {line for path in lists for line in path.read_text().splitlines()}
        ours = {f"/{path}" for path in OURS}
        for folder in ("usr/bin", "usr/sbin", "usr/lib/*-linux-gnu"):
            for path in image.root.glob(f"{folder}/*"):
                name = f"/{path.relative_to(image.root)}"
                assert name in owned or name in ours, f"{image.name}: {name}"


def test_every_python_distribution_is_listed(images: list[Image]) -> None:
    """The bill has the distributions that Python finds in the image."""
    for image in images:
        found = distributions(path=[str(image.root / LIBRARIES)])
        expected = {(dist.name.lower().replace("_", "-"), dist.version) for dist in found}
        assert listed(image, "pypi") == expected


def test_every_go_module_is_listed(images: list[Image]) -> None:
    """The bill has all modules that a program in Go names itself."""
    for image in images:
        plugins = image.root / "usr/lib/cni"
        named = {
            tuple(line.split(b"\t")[1:3])
            for plugin in (plugins.iterdir() if plugins.exists() else ())
            for line in plugin.read_bytes().split(b"\n")
            if line.startswith((b"dep\t", b"mod\t")) and line.count(b"\t") >= 3
        }
        modules = {(path.decode(), version.decode()) for path, version in named}
        assert modules <= listed(image, "golang")
        assert bool(modules) == (image.name == "linen")


def test_the_plugin_is_listed_with_what_is_linked_in(images: list[Image]) -> None:
    """The static plugin is in the bill, with the Python and the libc that are part of it."""
    for image in images:
        parts = [part for part in image.bill()["components"] if part["type"] == "application"]
        if image.name == "linen":
            (plugin,) = parts
            linked = {part["name"] for part in plugin["components"]}
            assert any(name.startswith("python3") for name in linked)
            assert any(name.startswith("libc6-dev") for name in linked)
        else:
            assert parts == []


def test_bill_is_of_this_image(images: list[Image]) -> None:
    """The bill names the digest of the image that it describes."""
    for image in images:
        assert image.bill()["metadata"]["component"]["bom-ref"] == image.digest


OURS = (
    "usr/bin/flaxd",
    "usr/bin/learning-switch",
    "usr/bin/linenctl",
    "usr/bin/start-ovs-vswitchd",
    "usr/bin/start-ovsdb-server",
    "usr/sbin/ovs-vswitchd",  # update-alternatives would have made it
)
