# SPDX-License-Identifier: Apache-2.0
"""A host that is node1 of a cluster, and its daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import Flaxd, Nodes, running_flaxd
from support.paths import FROZEN_PLUGIN, GO_TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host

UNDERLAY = """
ip link add eth0 type veth peer name cable
ip address add 10.245.0.1/16 dev eth0
ip link set eth0 up
ip link set cable up
"""


@pytest.fixture
def node1(host: Host) -> Host:
    """A host with an underlay of MTU 1500, and the plugins in place."""
    for line in UNDERLAY.strip().splitlines():
        host.run(*line.split())
    plugins = host.folder / "bin"
    plugins.mkdir()
    for program in (*GO_TOOLS.iterdir(), FROZEN_PLUGIN):
        (plugins / program.name).symlink_to(program)
    return host


@pytest.fixture
def nodes(node1: Host) -> Nodes:
    """A cluster of three nodes."""
    return Nodes(node1.folder / "nodes.json", "node1", "node2", "node3")


@pytest.fixture
def settings(node1: Host, nodes: Nodes) -> dict[str, Any]:
    """The settings of node1's daemon, all its files in the test's folder."""
    return {
        "node": "node1",
        "peers": nodes.path,
        "state_dir": node1.folder / "state",
        "conflist": node1.folder / "net.d" / "linen.conflist",
        "bin_dir": node1.folder / "bin",
    }


@pytest.fixture
def flaxd(node1: Host, settings: dict[str, Any]) -> Iterator[Flaxd]:
    """Node1's daemon, once its overlay works."""
    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("the overlay works")
        yield daemon
