# SPDX-License-Identifier: Apache-2.0
"""`linenctl install --kubernetes` and `uninstall --kubernetes`: a cluster instead of a host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from linen.cli.console import NodeCommand, say
from linen.rollout import manifests, stages
from linen.rollout.kubectl import Kubectl
from linen.settings.table import SETTINGS, SettingsInvalid, load

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 300  # seconds; pulling an image takes its time


def _cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--timeout", type=click.FloatRange(min=1), default=_PATIENCE, show_default=True,
            metavar="SECONDS", help="How long to wait for all nodes, with --apply.",
        ),
        click.option("--context", help="The kubeconfig's context.  [default: the current one]"),
        click.option(
            "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="How to reach the cluster.  [default: as kubectl]",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def _value_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Those settings of flaxd that have a line in the ConfigMap; the daemon's table parses them."""
    for name in reversed(manifests.VALUES):
        function = click.option(f"--{name}", metavar="TEXT", help=SETTINGS[name].help)(function)
    return function


def _registry(_context: click.Context, _option: click.Parameter, text: str | None) -> str:
    try:
        return manifests.parse_registry(text) if text else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(cls=NodeCommand)
@click.option(
    "--overlay",
    type=click.Choice([manifests.HOST_OVS, manifests.BUNDLED_OVS]),
    default=manifests.HOST_OVS,
    show_default=True,
    help="Whether Open vSwitch runs on the nodes already, or comes along.",
)
@_value_options
@click.option("--registry", callback=_registry, help="Where the images are: HOST[:PORT][/PATH].")
@click.option("--apply", "is_applied", is_flag=True, help="Apply, and wait for all nodes.")
@_cluster_options
def install(
    overlay: str,
    registry: str,
    kubeconfig: Path | None,
    context: str | None,
    timeout: float,
    *,
    is_applied: bool,
    **given: str | None,
) -> None:
    """Print the manifests of Linen for a Kubernetes cluster, or apply them.

    Exit status 1 if not all nodes are ready in time; what was applied stays, and why a node is not
    ready is told.
    """
    arguments = {name.replace("_", "-"): text for name, text in given.items() if text is not None}
    try:
        load(arguments, {}, None)
    except SettingsInvalid as error:
        raise click.UsageError("\n".join(error.faults)) from None
    kubectl = Kubectl(kubeconfig, context)
    rollout = manifests.Rollout(overlay, values=arguments, registry=registry)
    text = manifests.render(rollout, kubectl)
    if not is_applied:
        sys.stdout.write(text)
        return
    for line in stages.apply(kubectl, text):
        say(line)
    say("waiting for all nodes …")
    stages.wait(kubectl, timeout, lambda node, cause: say(f"{node}: {cause}", "yellow"))
    say("Linen works on all nodes", "green")


@click.command(cls=NodeCommand)
@click.option("--apply", "is_applied", is_flag=True, help="Do it, and wait until it is done.")
@_cluster_options
def uninstall(
    kubeconfig: Path | None, context: str | None, timeout: float, *, is_applied: bool
) -> None:
    """Show what of Linen is in a Kubernetes cluster, or take it off all nodes and the cluster.

    Pods that run keep their addresses and reach each other on their node only, so drain nodes
    before. Every flaxd first removes conflist, plugins, bridges and tunnels from its node.
    """
    kubectl = Kubectl(kubeconfig, context)
    text = manifests.render(manifests.EVERYTHING, kubectl)
    if is_applied:
        lines = stages.remove(kubectl, text, timeout)
    else:
        lines = [f"would delete: {name}" for name in stages.list_installed(kubectl, text)]
    for line in lines:
        say(line)
    if not lines:
        say("nothing of Linen is in this cluster")


COMMANDS = {"install": install, "uninstall": uninstall}  # by what they are called on a host
