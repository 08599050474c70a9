# SPDX-License-Identifier: Apache-2.0
"""`linenctl plan`: what the next ADD would change on this node, without doing it."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from linen.cli.console import CONFLISTS, NodeCommand, conf_dir_option, json_option, say
from linen.core import place
from linen.core.intentions import intentions
from linen.host.checks.folder import read_folder
from linen.host.conflists import ConflistUnreadable, Network, networks_of, read_conflist
from linen.host.errors import HostError
from linen.host.node import Node
from linen.host.programs import BIN_DIR

if TYPE_CHECKING:
    from linen.netlink.codec import Link

SOMETHING_TO_DO = 2


@click.command(cls=NodeCommand)
@click.argument("file", required=False, type=CONFLISTS)
@conf_dir_option
@json_option
def command(file: Path | None, conf_dir: Path, *, as_json: bool) -> None:
    """Tell what the next pod's ADD would change on this node, without doing it.

    FILE is a conflist; without it all of the runtime's folder are taken.
    Exit status 0 if nothing is to do, 2 if something is, 1 for an error.
    """
    plans = _plans(_networks(file, conf_dir))
    if as_json:
        click.echo(json.dumps(plans, indent=2))
    else:
        for name, sentences in plans.items():
            say(f"network {name}: " + ("the next ADD will" if sentences else "nothing to do"))
            for sentence in sentences:
                say(f"  {sentence}")
    sys.exit(SOMETHING_TO_DO if any(plans.values()) else 0)


def _networks(file: Path | None, conf_dir: Path) -> list[Network]:
    source = file or conf_dir
    try:
        conflists = [read_conflist(file)] if file else read_folder(conf_dir).ours
    except ConflistUnreadable as fault:
        raise HostError(
            f"{fault.finding.where}: {fault.finding.what}", fault.finding.cure
        ) from None
    networks = networks_of(conflists)
    if len(networks) < max(len(conflists), 1):
        raise HostError(
            f"{source} has no network of Linen, or one with errors",
            f"`linenctl check {source}` tells what is wrong with it",
        )
    return networks


def _plans(networks: list[Network]) -> dict[str, list[str]]:
    """By network, what the next ADD would do."""
    with closing(Node(networks, Path(BIN_DIR))) as node:
        return {network.name: _plan(node, network) for network in networks}


def _plan(node: Node, network: Network) -> list[str]:
    """What the next ADD does for one network. Raises `Conflict` where it would."""
    steps = node.plan(network).steps
    conflict = node.find_hold(network)
    if conflict is not None:
        raise conflict
    return intentions(network.options.ovs_bridge, steps) + _placing(
        network,
        node.links.get(network.options.ovs_bridge),
        node.links.get(network.linux_bridge),
    )


def _placing(network: Network, port: Link | None, linux_bridge: Link | None) -> list[str]:
    """What ADD does to put the OVS bridge's device on the Linux bridge."""
    name, where = network.options.ovs_bridge, network.linux_bridge
    if linux_bridge is None:
        return [f"attach {name} to Linux bridge {where}, which the bridge plugin makes before"]
    if port is None or not place.is_on(port, linux_bridge):
        return [f"attach {name} to Linux bridge {where}, whose MAC address is pinned first"]
    return [] if port.up else [f"set device {name} up"]
