# SPDX-License-Identifier: Apache-2.0
"""`linenctl install`: plugins and conflist where the container runtime looks."""

from __future__ import annotations

from pathlib import Path

import click

from linen.cli.console import (
    HostOrCluster,
    bin_dir_option,
    conf_dir_option,
    kubernetes_option,
    print_finding,
    say,
    state_dir_option,
)
from linen.host.errors import ConflistRefused
from linen.host.install import Installation, InstallRequest, prepare

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DONE = {"new": "installed", "changed": "replaced", "right": "was right"}
_PLANNED = {"new": "would install", "changed": "would replace", "right": "is right"}


@click.command(cls=HostOrCluster)
@kubernetes_option
@click.option("--conflist", type=_FILE, help="The network to install; without it only the plugin.")
@click.option("--for-flaxd", is_flag=True, help="The plugins of the conflist that flaxd writes.")
@click.option("--plugin", type=_FILE, help="The plugin's file.  [default: bin/linen]")
@bin_dir_option
@conf_dir_option
@state_dir_option
@click.option("--offline", is_flag=True, help="Do not ask for Open vSwitch (to prepare an image).")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
def command(  # noqa: PLR0913 (an option each)
    conflist: Path | None,
    plugin: Path | None,
    bin_dir: Path,
    conf_dir: Path,
    state_dir: Path,
    *,
    for_flaxd: bool,
    offline: bool,
    dry_run: bool,
) -> None:
    """Put plugins and conflist where the container runtime looks (as root).

    The conflist is checked before, and written last. Reference plugins that it names are copied
    from the distribution's package where they are missing; files of others are never replaced.
    """
    if conflist is not None and for_flaxd:
        raise click.UsageError("--conflist and --for-flaxd exclude each other")
    request = InstallRequest(conflist, plugin, bin_dir, conf_dir, state_dir, offline, for_flaxd)
    try:
        installation = prepare(request)
    except ConflistRefused as refused:
        for finding in refused.findings:
            if finding.severity == "error":
                print_finding(finding)
        raise
    if not dry_run:
        installation.apply()
    _tell(installation, _PLANNED if dry_run else _DONE)


def _tell(installation: Installation, words: dict[str, str]) -> None:
    for finding in installation.findings:
        if finding.severity in {"warning", "note"}:
            print_finding(finding)
    for placement in installation.placements:
        origin = "" if placement.state == "right" else f" (from {placement.source})"
        say(f"{words[placement.state]}: {placement.path}{origin}")
    for path in installation.kept:
        say(f"left alone: {path}")
    for remark in installation.remarks:
        say(f"note: {remark}", "yellow")
