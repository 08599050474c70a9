# SPDX-License-Identifier: Apache-2.0
"""`linenctl uninstall`: everything of Linen off this host, and nothing of others."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from linen.cli.console import (
    HostOrCluster,
    bin_dir_option,
    conf_dir_option,
    kubernetes_option,
    say,
    state_dir_option,
)
from linen.host.uninstall import uninstall


@click.command(cls=HostOrCluster)
@kubernetes_option
@bin_dir_option
@conf_dir_option
@state_dir_option
@click.option("--keep-overlay", is_flag=True, help="Leave OVS bridges and tunnels as they are.")
def command(bin_dir: Path, conf_dir: Path, state_dir: Path, *, keep_overlay: bool) -> None:
    """Take Linen off this host (as root): conflist, plugins, and its rows in Open vSwitch.

    Pods that run keep their addresses and reach each other on this node, but no longer those of
    other nodes. The Linux bridge that they hang on stays; an empty one goes.
    Exit status 1 if something of ours could not be removed; call it again then.
    """
    report = uninstall(bin_dir, conf_dir, state_dir, keep_overlay=keep_overlay)
    for thing in report.removed:
        say(f"removed: {thing}")
    for thing in report.stays:
        say(f"stays: {thing}", "yellow")
    if not report.removed and not report.stays:
        say("nothing of Linen is here")
    sys.exit(report.failed)
