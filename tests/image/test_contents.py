# SPDX-License-Identifier: Apache-2.0
"""What is in the images, for every processor, and what is not."""

from __future__ import annotations

import os
import stat
import subprocess
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.images import IMAGES, LIBRARIES, Archive, archive_of
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from support.images import Image

MEGABYTE = 1_000_000
PROGRAMS: dict[str, list[tuple[str, ...]]] = {
    "linen": [
        ("/usr/bin/flaxd", "--version"),
        ("/usr/bin/linenctl", "--version"),
        ("/usr/lib/linen/linen",),
        ("/usr/lib/cni/bridge",),
        ("/usr/lib/cni/portmap",),
    ],
    "linen-ovs": [
        ("/usr/lib/openvswitch-switch/ovs-vswitchd", "--version"),
        ("/usr/sbin/ovsdb-server", "--version"),
        ("/usr/bin/ovs-vsctl", "--version"),
    ],
    "linen-controller": [("/usr/bin/learning-switch", "--help")],
}
# What containerd calls an image, and what podman does.
NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
# What markers of requirements are judged by: Python on Debian 13.
PYTHON = {"python_version": "3.13", "python_full_version": "3.13.5", "extra": ""}


@pytest.mark.parametrize("name", IMAGES)
def test_archive_names_the_image(name: str) -> None:
    """Each runtime finds the image under a name that is whole, and of no registry."""
    (top,) = Archive(archive_of(name)).index["manifests"]
    version = archive_of(name).name.removeprefix(f"{name}-").removesuffix(".oci.tar")
    names = {top["annotations"][key] for key in NAMES}
    assert names == {f"localhost/{name}:{version}"}


def test_size(images: list[Image]) -> None:
    """What a node downloads is at most 60 MB for each image, 40 MB for linen."""
    limits = {"linen": 40, "linen-ovs": 25, "linen-controller": 35}
    sizes = {image.name: image.size / MEGABYTE for image in images}
    assert {name: size for name, size in sizes.items() if size > limits[name]} == {}


def test_few_tools(images: list[Image]) -> None:
    """linen-ovs has what its scripts call and what explains a switch, and linen has no shell."""
    others = {"dash", "sh", "kmod", "lsmod", "mv", "rm", "sleep"}
    for image in images:
        there = {path.name for path in (image.root / "usr/bin").iterdir()}
        if image.name == "linen-ovs":
            assert {name for name in there if not name.startswith(("ov", "start-"))} == others
        else:
            assert not there & others


def test_nothing_gives_rights(images: list[Image]) -> None:
    """No file is setuid or setgid, and none but root may write to any."""
    for image in images:
        for path in image.files():
            mode = path.lstat().st_mode
            assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH | stat.S_IWGRP), path
            assert path.lstat().st_uid == 0, path


def test_one_file_has_capabilities(images: list[Image]) -> None:
    """flaxd's interpreter alone has file capabilities, and just the three that flaxd needs."""
    for image in images:
        done = subprocess.run(
            ["getcap", "-r", image.root], check=True, capture_output=True, text=True
        )
        lines = done.stdout.replace(str(image.root), "").splitlines()
        capabilities = "cap_dac_override,cap_net_admin,cap_net_raw=ep"
        expected = [f"/usr/libexec/linen/flaxd-python {capabilities}"]
        assert lines == (expected if image.name == "linen" else [])


def test_nothing_tells_where_it_was_built(images: list[Image]) -> None:
    """No file has the path of the checkout, nor the machine's name servers, sources or name."""
    for image in images:
        for path in image.files():
            assert os.fsencode(CHECKOUT) not in path.read_bytes(), path
        for name in ("etc/apt", "etc/hostname", "etc/resolv.conf", "var/lib/apt"):
            assert not (image.root / name).exists(), name


def test_all_times_are_one(images: list[Image]) -> None:
    """Files have no time of their own, so that equal content has equal digests."""
    for image in images:
        times = {path.lstat().st_mtime for path in image.files()}
        assert times == {0}, image.name


def left_out() -> set[str]:
    """The names of distributions that an image does without, knowingly."""
    lines = (CHECKOUT / "requirements" / "controller.overrides").read_text().splitlines()
    return {line.split()[0] for line in lines if not line.startswith("#")}


def unmet(image: Image) -> list[str]:
    """What the image's Python distributions require and do not find."""
    found = list(distributions(path=[str(image.root / LIBRARIES)]))
    versions = {canonicalize_name(dist.name): dist.version for dist in found}

    def is_met(need: Requirement) -> bool:
        name = canonicalize_name(need.name)
        if name in left_out() or (need.marker and not need.marker.evaluate(PYTHON)):
            return True
        return name in versions and need.specifier.contains(versions[name])

    needs = [Requirement(text) for dist in found for text in dist.requires or []]
    return [str(need) for need in needs if not is_met(need)]


def test_every_requirement_is_there(images: list[Image]) -> None:
    """Each Python distribution finds all those that it requires, in a version that suits it."""
    assert {image.name: unmet(image) for image in images if unmet(image)} == {}


def test_programs_run_on_each_processor(images: list[Image]) -> None:
    """Every image's programs run, by emulation where they are another processor's."""
    for image in images:
        for path, *argv in PROGRAMS[image.name]:
            assert image.execute(path, *argv)
