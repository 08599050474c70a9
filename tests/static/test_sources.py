# SPDX-License-Identifier: Apache-2.0
"""Reading the host's package sources, in both of apt's syntaxes (sources.list(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sources import Source, parse_lines, parse_stanzas, read_sources, serving

if TYPE_CHECKING:
    from pathlib import Path

KEY = "signed-by=/usr/share/keyrings/archive.gpg"
LINES = f"""\
# deb http://mirror.example/debian sid main
deb http://mirror.example/debian stable main contrib
deb-src http://mirror.example/debian stable main
deb [ arch=amd64,i386 {KEY} ] http://mirror.example/debian stable-updates main
"""
STANZAS = """\
Types: deb deb-src
URIs: http://mirror.example/ubuntu
Suites: noble noble-updates
Components: main universe
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

# the sources of this one are not ours
Types: deb-src
URIs: http://mirror.example/other

Enabled: no
Types: deb
URIs: http://mirror.example/off
"""


def test_lines() -> None:
    """One-line entries of packages keep all options but the architecture."""
    assert [source.render("deb-src") for source in parse_lines(LINES)] == [
        "deb-src http://mirror.example/debian stable main contrib\n",
        f"deb-src [{KEY}] http://mirror.example/debian stable-updates main\n",
    ]
    assert [sorted(source.architectures) for source in parse_lines(LINES)] == [
        [],
        ["amd64", "i386"],
    ]


def test_stanzas() -> None:
    """Stanzas keep all fields but types and architectures; those switched off are left out."""
    (source,) = parse_stanzas(STANZAS)
    assert source.architectures == {"amd64"}
    assert source.render("deb") == (
        "Types: deb\n"
        "URIs: http://mirror.example/ubuntu\n"
        "Suites: noble noble-updates\n"
        "Components: main universe\n"
        "Signed-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n"
        " .\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_third_parties_are_left_out(tmp_path: Path) -> None:
    """Of the files below /etc/apt only the entries of the distribution's archives count."""
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian stable main\n")
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "other.list").write_text("deb http://other.example/apt x y\n")
    (tmp_path / "sources.list.d" / "old.list.save").write_text("deb http://mirror.example/a b c\n")
    found = read_sources(tmp_path, {"http://mirror.example/debian"})
    assert [source.body for source in found] == ["http://mirror.example/debian stable main"]


def test_serving() -> None:
    """An architecture is served by who names it, else by who names none, else by all."""
    amd64 = Source(".list", "amd64 only", frozenset({"amd64"}))
    arm64 = Source(".list", "arm64 only", frozenset({"arm64"}))
    both = Source(".list", "any", frozenset())
    assert serving("arm64", [amd64, arm64, both]) == [arm64]
    assert serving("arm64", [amd64, both]) == [both]
    assert serving("arm64", [amd64]) == [amd64]
