# SPDX-License-Identifier: Apache-2.0
"""`flaxd --help` and docs/flaxd.md: the settings in words."""

from __future__ import annotations

import re

from click.testing import CliRunner

from linen.flaxd.main import main
from linen.settings.table import SETTINGS
from support.paths import CHECKOUT


def lines_of_help() -> dict[str, str]:
    """By name, what `flaxd --help` says of each setting."""
    done = CliRunner().invoke(main, ["--help"], terminal_width=1000)
    found = re.findall(r"^ +--([a-z-]+) TEXT +(.+)$", done.output, re.MULTILINE)
    return {name: text for name, text in found if name in SETTINGS}


def test_every_setting_with_its_default() -> None:
    """Each setting is listed, and with it the default that it would be given as."""
    lines = lines_of_help()

    assert lines.keys() == SETTINGS.keys()
    assert lines["cluster-range"].endswith("[10.244.0.0/16]")
    assert lines["listen"].endswith("[127.0.0.1:9474]")
    assert lines["conflist"].endswith("[/etc/cni/net.d/linen.conflist]")
    assert lines["bfd-interval"].endswith("[1000]")
    for name, setting in SETTINGS.items():
        assert setting.default is None or lines[name].endswith("]"), name


def test_every_setting_in_the_documentation() -> None:
    """docs/flaxd.md has a row for each setting, with the words of `flaxd --help`."""
    text = (CHECKOUT / "docs" / "flaxd.md").read_text()
    _, _, section = text.partition("\n## Settings\n")
    table, _, _ = section.partition("\n## ")

    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", table, re.MULTILINE)) == lines_of_help()
