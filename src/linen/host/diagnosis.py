# SPDX-License-Identifier: Apache-2.0
"""All tables of checks, run over what they are about.

A single file is judged by itself. A folder is taken for a node's: its files are judged one by one,
and its networks together. A node is judged with all that runs on it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from linen.host.checks import (
    addresses,
    conflist,
    folder,
    forwarding,
    kernel,
    networks,
    ovs,
    programs,
)
from linen.host.conflists import ConflistUnreadable, read_conflist
from linen.host.findings import run_all
from linen.host.node import Node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from linen.host.checks.folder import Folder
    from linen.host.conflists import Conflist, Network
    from linen.host.findings import Check, Finding

CONFLIST_CHECKS: tuple[Check[Conflist], ...] = conflist.CHECKS + addresses.CHECKS
# Those that OVSDB has to answer, and those that can do without.
OVS_CHECKS: tuple[Check[Node], ...] = ovs.CHECKS + kernel.OVS_CHECKS
OTHER_CHECKS: tuple[Check[Node], ...] = (
    programs.CHECKS + kernel.CHECKS + forwarding.CHECKS + networks.NODE_CHECKS
)


def diagnose_conflist(subject: Conflist) -> list[Finding]:
    """Judge one conflist."""
    return run_all(CONFLIST_CHECKS, subject, str(subject.path))


def diagnose_file(path: Path) -> list[Finding]:
    """Judge one file, which may not even be JSON."""
    try:
        return diagnose_conflist(read_conflist(path))
    except ConflistUnreadable as fault:
        return [replace(fault.finding, check="readable")]


def diagnose_folder(subject: Folder, *, is_secondary: bool = False) -> list[Finding]:
    """Judge our conflists in a folder, one by one.

    `is_secondary`: the folder is for networks that a runtime takes none of by itself.
    """
    checks = folder.SECONDARY_CHECKS if is_secondary else folder.CHECKS
    found = run_all(checks, subject, str(subject.path))
    for one in subject.ours:
        found += diagnose_conflist(one)
    return found


def diagnose_together(subject: Sequence[Network], where: str) -> list[Finding]:
    """Judge whether networks can be on one node. `where`: of what they are, for people."""
    return run_all(networks.CHECKS, subject, where)


def diagnose_node(known: Sequence[Network], bin_dir: Path, state_dir: Path) -> list[Finding]:
    """Judge this node: its networks together, Open vSwitch, programs, kernel.

    Where no OVSDB answers, that is found, and nothing else that only OVSDB could tell.
    """
    with closing(Node(known, bin_dir, state_dir)) as node:
        node.settle()
        together = diagnose_together([*known, *node.unlisted_networks()], "this node")
        found = ovs.REACHABLE.run(node, "this node")
        if node.inventories():
            found += run_all(OVS_CHECKS, node, "this node")
        return together + found + run_all(OTHER_CHECKS, node, "this node")
