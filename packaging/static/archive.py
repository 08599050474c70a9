# SPDX-License-Identifier: Apache-2.0
"""Fetch the distribution's CPython library and source through a private apt.

apt runs on directories of its own, with the host's package sources, keys and proxies but
with source packages and the wanted architecture switched on. So the host stays as it is,
root isn't needed, a foreign architecture is no special case, and all that is downloaded
has passed apt's signature and hash checks.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from host import BuildError, run

DISTRIBUTIONS = {"Debian", "Ubuntu"}  # as they call themselves in their Release files
SOURCE_FILES = {"Modules/_json.c"}  # the one C module that libpython lacks

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


@dataclass(frozen=True)
class Source:
    """One entry of the host's package sources, without its types and architectures."""

    suffix: str  # ".list" or ".sources": the syntax of `body`
    body: str
    architectures: frozenset[str]  # empty: not restricted

    def render(self, kind: str) -> str:
        """Render the entry as one of `kind`: deb or deb-src."""
        return f"{kind} {self.body}\n" if self.suffix == ".list" else f"Types: {kind}\n{self.body}\n"


def write_sources(folder: Path, arch: str) -> None:
    """Write the host's package sources to `folder`: all for sources, some for packages.

    Packages come from the entries that name `arch` if there are any, as a distribution may
    keep it on another server, and from all entries otherwise.
    """
    sources = read_sources(Path("/etc/apt"), official_uris())
    for_packages = [source for source in sources if arch in source.architectures] or sources
    for suffix in (".list", ".sources"):
        entries = [s.render("deb") for s in for_packages if s.suffix == suffix]
        entries += [s.render("deb-src") for s in sources if s.suffix == suffix]
        (folder / f"host{suffix}").write_text("\n".join(entries), "utf-8")


def official_uris() -> set[str]:
    """Return the addresses of the distribution's own archives; empty before a first update."""
    listing = run(
        "apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"
    )
    origins = (line.partition(" ")[::2] for line in listing.splitlines())
    return {uri.rstrip("/") for origin, uri in origins if origin in DISTRIBUTIONS}


def read_sources(etc: Path, official: set[str]) -> list[Source]:
    """Read the enabled sources of packages below /etc/apt, third parties' left out."""
    sources: list[Source] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.suffix in PARSERS and path.is_file():
            sources += PARSERS[path.suffix](path.read_text("utf-8"))
    return [s for s in sources if not official or any(uri in s.body for uri in official)]


def parse_lines(text: str) -> list[Source]:
    """Parse one-line sources: `deb [options] URI SUITE COMPONENT...`."""
    sources = []
    for match in re.finditer(r"^deb[ \t]+(?:\[(.*?)\][ \t]+)?(.*)$", text, re.MULTILINE):
        options = (match[1] or "").split()
        archs = [option.partition("=")[2] for option in options if option.startswith("arch=")]
        kept = " ".join(option for option in options if not option.startswith("arch"))
        body = f"[{kept}] {match[2]}" if kept else match[2]
        sources.append(Source(".list", body, frozenset(",".join(archs).split(",")) - {""}))
    return sources


def parse_stanzas(text: str) -> list[Source]:
    """Parse deb822 sources: stanzas of `Field: value`, apart by empty lines."""
    sources = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = {name.lower(): value.split() for name, _, value in (s.partition(":") for s in lines)}
        if "deb" not in fields.get("types", []) or fields.get("enabled") in (["no"], ["false"]):
            continue
        body = [s for s in lines if not s.lower().startswith(("types:", "architectures:"))]
        archs = frozenset(fields.get("architectures", []))
        sources.append(Source(".sources", "\n".join(body), archs))
    return sources


PARSERS = {".list": parse_lines, ".sources": parse_stanzas}


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


def unpack_source(tar: Path, folder: Path) -> None:
    """Unpack SOURCE_FILES, and nothing else, from CPython's source into `folder`."""
    with tempfile.TemporaryDirectory(dir=tar.parent) as temporary:
        with tarfile.open(tar) as archive:
            for member in archive:
                name = member.name.partition("/")[2]
                if name in SOURCE_FILES and (data := archive.extractfile(member)):
                    target = Path(temporary, name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data.read())
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(temporary, folder)


class CPython:
    """The distribution's CPython for one architecture, cached below .cache/."""

    def __init__(self, cache: Path, version: str, installed: str, arch: str) -> None:
        """Fetch what isn't cached: `installed` is the package version to look for."""
        self.version = version  # "3.11"
        self.root = cache / "cpython" / installed
        self.usr = self.root / arch / "usr"
        self.source = self.root / "source"
        cache.mkdir(parents=True, exist_ok=True)
        if not (self.usr.is_dir() and self.source.is_dir()):
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
        if not self.source.is_dir():
            print(f"fetching the source of {source} {version}", flush=True)
            unpack_source(apt.upstream_tar(source, version), self.source)
        if not self.usr.is_dir():
            print(f"fetching lib{source}-dev {version}", flush=True)
            deb = apt.deb(f"lib{source}-dev", version)
            run("dpkg-deb", "--extract", str(deb), str(apt.root / "unpacked"))
            self.usr.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(apt.root / "unpacked" / "usr", self.usr)
