# SPDX-License-Identifier: Apache-2.0
"""`linenctl check`: what is wrong, why, and what to do; of files, or of all of this node."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from linen.cli.console import (
    CONFLISTS,
    NodeCommand,
    bin_dir_option,
    conf_dir_option,
    json_option,
    print_finding,
    print_line,
    say,
    state_dir_option,
)
from linen.host import diagnosis
from linen.host.checks.folder import read_folder
from linen.host.conflists import (
    SECONDARY_CONF_DIR,
    ConflistUnreadable,
    networks_of,
    read_conflist,
)
from linen.host.findings import has_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.host.conflists import Network
    from linen.host.findings import Finding

SECONDARY = Path(SECONDARY_CONF_DIR)
_ORDER = ("error", "warning", "note", "ok")


@click.command(cls=NodeCommand)
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...", type=CONFLISTS)
@click.option("--live", is_flag=True, help="Compare FILE or DIR with this node, too.")
@click.option("-v", "--verbose", is_flag=True, help="Name each check that found nothing.")
@conf_dir_option
@bin_dir_option
@state_dir_option
@json_option
def command(  # noqa: PLR0913 (an option each)
    paths: tuple[Path, ...],
    conf_dir: Path,
    bin_dir: Path,
    state_dir: Path,
    *,
    live: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Find what is wrong, why, and what to do about it.

    Without arguments: this node, with the conflists in its folder and Multus', its plugins, Open
    vSwitch and kernel. With FILE or DIR: these alone; a DIR is taken for the folder of one node.
    Exit status 1 if there is an error. Every finding's name is a heading in
    docs/troubleshooting.md.
    """
    is_live = live or not paths
    findings, networks = _diagnose_paths(paths or (conf_dir,), is_live=is_live)
    if not paths and SECONDARY.exists():
        folder = read_folder(SECONDARY)
        findings += diagnosis.diagnose_folder(folder, is_secondary=True)
        networks += folder.networks
    if is_live:
        findings += diagnosis.diagnose_node(networks, bin_dir, state_dir)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings, verbose=verbose)
    sys.exit(has_errors(findings))


def _diagnose_paths(paths: Sequence[Path], *, is_live: bool) -> tuple[list[Finding], list[Network]]:
    """What is wrong with files and folders, and their networks.

    `is_live`: all networks are judged together later.
    """
    findings: list[Finding] = []
    networks: list[Network] = []
    for path in paths:
        if path.is_dir() or not path.exists():
            folder = read_folder(path)
            findings += diagnosis.diagnose_folder(folder)
            if not is_live:
                findings += diagnosis.diagnose_together(folder.networks, str(path))
            networks += folder.networks
            continue
        findings += diagnosis.diagnose_file(path)
        try:
            networks += networks_of([read_conflist(path)])
        except ConflistUnreadable:
            continue  # it is among the findings
    return findings, networks


def _print(findings: Sequence[Finding], *, verbose: bool) -> None:
    for severity in _ORDER[:-1]:
        for finding in findings:
            if finding.severity == severity:
                print_finding(finding)
    passed = [finding for finding in findings if finding.severity == "ok"]
    if verbose:
        for finding in passed:
            print_line("ok", f"{finding.where}: {finding.what}", finding.check)
    else:
        for where, count in Counter(finding.where for finding in passed).items():
            print_line("ok", f"{where}: {count} {_plural('check', count)} found nothing")
    counts = Counter(finding.severity for finding in findings)
    say(
        f"{counts['error']} {_plural('error', counts['error'])},"
        f" {counts['warning']} {_plural('warning', counts['warning'])},"
        f" {counts['note']} {_plural('note', counts['note'])},"
        f" {counts['ok']} {_plural('check', counts['ok'])} passed",
        "bold",
    )


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
