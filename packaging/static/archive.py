# SPDX-License-Identifier: Apache-2.0
"""Fetch the distribution's CPython library and source through a private apt.

apt runs on directories of its own, with the host's package sources, keys and proxies but
with source packages and the wanted architecture switched on. So the host stays as it is,
root isn't needed, a foreign architecture is no special case, and all that is downloaded
has passed apt's signature and hash checks.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from pathlib import Path

from host import BuildError, run
from sources import write_sources

APT_CONF = """\
#clear APT::Update;
Acquire::Languages "none";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
Dir::Cache "{root}/cache";
Dir::Etc::SourceList "{root}/sources.list";
Dir::Etc::SourceParts "{root}/sources.list.d";
Dir::State "{root}";
Dir::State::Lists "{root}/lists";
Dir::State::Status "{root}/status";
"""


class Apt:
    """apt on private directories below `root`, for packages of `arch`."""

    def __init__(self, root: Path, arch: str) -> None:
        self.root = root
        self.config = root / "apt.conf"
        for folder in ("cache/archives/partial", "lists/partial", "sources.list.d"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        self.config.write_text(APT_CONF.format(root=root, arch=arch), "utf-8")
        write_sources(root / "sources.list.d", arch)
        self("apt-get", "update", "--error-on=any")

    def __call__(self, program: str, *args: str) -> str:
        """Run an apt program in `root`; return what it prints."""
        return run(program, "--config-file", str(self.config), *args, cwd=self.root)

    def versions(self, source: str) -> list[str]:
        """Return the versions that the archive has of a source package."""
        listing = self("apt-cache", "showsrc", "--only-source", source)
        return re.findall(r"^Version: (\S+)$", listing, re.MULTILINE)

    def upstream_tar(self, source: str, version: str) -> Path:
        """Download the upstream tar of a source package."""
        package = f"{source}={version}"
        self("apt-get", "source", "--download-only", "--only-source", "--tar-only", package)
        return next(self.root.glob("*.orig.tar.*"))

    def deb(self, package: str, version: str) -> Path:
        """Download a binary package."""
        self("apt-get", "download", f"{package}={version}")
        return next(self.root.glob("*.deb"))


def pick_version(installed: str, offered: list[str], source: str) -> str:
    """Pick the installed version, or else one of the same upstream release.

    Archives keep only the newest revision of a package, so a host that isn't upgraded may
    have one that is gone. Its bytecode is the same within an upstream release.
    """
    if installed in offered:
        return installed
    upstream = installed.rpartition("-")[0]
    same = [version for version in offered if version.rpartition("-")[0] == upstream]
    if not same:
        raise BuildError(
            f"{source} {installed} is installed, but the package archive offers"
            f" {' and '.join(offered) or 'none'}: run apt-get update and apt-get upgrade"
        )
    return same[0]


def unpack(tar: Path, name: str, target: Path) -> None:
    """Unpack the one file `name` of an upstream source, whose top folder doesn't matter."""
    with tarfile.open(tar) as archive:
        member = next(member for member in archive if member.name.partition("/")[2] == name)
        content = archive.extractfile(member)
        if content is None:
            raise BuildError(f"{name} is no file in {tar.name}")
        unpacked = tar.with_name(target.name)
        unpacked.write_bytes(content.read())
    target.parent.mkdir(parents=True, exist_ok=True)
    unpacked.replace(target)


class CPython:
    """The distribution's CPython for one architecture, cached below .cache/."""

    def __init__(self, cache: Path, version: str, installed: str, arch: str) -> None:
        """Fetch what isn't cached: `installed` is the package version to look for."""
        self.version = version  # "3.11"
        self.root = cache / "cpython" / installed
        self.usr = self.root / arch / "usr"
        self.json_c = self.root / "_json.c"  # the one C module that libpython lacks
        cache.mkdir(parents=True, exist_ok=True)
        if not (self.usr.is_dir() and self.json_c.is_file()):
            with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as private:
                self._fetch(Apt(Path(private), arch), f"python{version}", installed)

    @property
    def library(self) -> Path:
        """The static library."""
        pattern = f"lib/python{self.version}/config-*/libpython{self.version}.a"
        return next(self.usr.glob(pattern))

    @property
    def include(self) -> Path:
        """The folder of Python.h."""
        return self.usr / "include" / f"python{self.version}"

    def _fetch(self, apt: Apt, source: str, installed: str) -> None:
        version = pick_version(installed, apt.versions(source), source)
        if not self.json_c.is_file():
            print(f"fetching the source of {source} {version}", flush=True)
            unpack(apt.upstream_tar(source, version), "Modules/_json.c", self.json_c)
        if not self.usr.is_dir():
            print(f"fetching lib{source}-dev {version}", flush=True)
            deb = apt.deb(f"lib{source}-dev", version)
            run("dpkg-deb", "--extract", str(deb), str(apt.root / "unpacked"))
            self.usr.parent.mkdir(parents=True, exist_ok=True)
            (apt.root / "unpacked" / "usr").rename(self.usr)
