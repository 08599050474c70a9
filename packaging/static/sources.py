# SPDX-License-Identifier: Apache-2.0
"""The host's package sources, rewritten for another architecture and for source packages.

They come in two syntaxes: one entry a line in sources.list and *.list, and stanzas of fields
in *.sources (sources.list(5)). All options are kept, above all the keys that entries are
signed by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from host import native_architecture, run

DISTRIBUTIONS = {"Debian", "Ubuntu"}  # as they call themselves in their Release files


@dataclass(frozen=True)
class Source:
    """One entry of the host's package sources, without its types and architectures."""

    suffix: str  # ".list" or ".sources": the syntax of `body`
    body: str
    architectures: frozenset[str]  # empty: not restricted

    def render(self, kind: str) -> str:
        """Render the entry as one of `kind`: deb or deb-src."""
        if self.suffix == ".list":
            return f"{kind} {self.body}\n"
        return f"Types: {kind}\n{self.body}\n"


def write_sources(folder: Path, arch: str) -> None:
    """Write the sources of packages for `arch`, and those of their source code, to `folder`."""
    sources = read_sources(Path("/etc/apt"), official_uris())
    binary = serving(arch, sources)
    source = serving(native_architecture(), sources)
    for suffix in PARSERS:
        entries = [entry.render("deb") for entry in binary if entry.suffix == suffix]
        entries += [entry.render("deb-src") for entry in source if entry.suffix == suffix]
        (folder / f"host{suffix}").write_text("\n".join(entries), "utf-8")


def serving(arch: str, sources: list[Source]) -> list[Source]:
    """Select the entries for `arch`: those that name it, or else those that name none.

    A distribution may keep some architectures on a server of their own, as Ubuntu does. Where
    all entries are restricted to others, that's taken for a matter of taste, and lifted.
    """
    named = [source for source in sources if arch in source.architectures]
    return named or [source for source in sources if not source.architectures] or sources


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
        pairs = (line.partition(":")[::2] for line in lines)
        fields = {name.lower(): value.split() for name, value in pairs}
        if "deb" not in fields.get("types", []) or fields.get("enabled") in (["no"], ["false"]):
            continue
        body = [s for s in lines if not s.lower().startswith(("types:", "architectures:"))]
        archs = frozenset(fields.get("architectures", []))
        sources.append(Source(".sources", "\n".join(body), archs))
    return sources


PARSERS = {".list": parse_lines, ".sources": parse_stanzas}
