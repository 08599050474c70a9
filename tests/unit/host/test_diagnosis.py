# SPDX-License-Identifier: Apache-2.0
"""The tables of checks as a whole: names that are unique, and described for people."""

from __future__ import annotations

import re

from linen.host.checks import folder, networks, ovs
from linen.host.diagnosis import CONFLIST_CHECKS, OTHER_CHECKS, OVS_CHECKS
from support.paths import CHECKOUT

# In the order in which they run.
NAMES = [
    check.name
    for checks in (
        CONFLIST_CHECKS,
        folder.CHECKS,
        networks.CHECKS,
        (ovs.REACHABLE, *OVS_CHECKS, *OTHER_CHECKS),
    )
    for check in checks
]


def test_names_are_unique() -> None:
    """A finding's name leads to one check."""
    assert len(set(NAMES)) == len(NAMES)


def test_every_check_is_described() -> None:
    """docs/troubleshooting.md has one heading for each check, and no other that looks like one."""
    text = (CHECKOUT / "docs" / "troubleshooting.md").read_text()

    assert re.findall(r"^### `([a-z-]+)`$", text, re.MULTILINE) == NAMES
