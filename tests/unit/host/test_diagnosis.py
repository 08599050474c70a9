# SPDX-License-Identifier: Apache-2.0
"""The tables of checks as a whole: names that are unique, and described for people."""

from __future__ import annotations

import re

from linen.host.diagnosis import check_names
from support.paths import CHECKOUT


def test_names_are_unique() -> None:
    """A finding's name leads to one check."""
    names = check_names()

    assert len(set(names)) == len(names)


def test_every_check_is_described() -> None:
    """docs/troubleshooting.md has one heading for each check, and no other that looks like one."""
    text = (CHECKOUT / "docs" / "troubleshooting.md").read_text()

    assert re.findall(r"^### `([a-z-]+)`$", text, re.MULTILINE) == check_names()
