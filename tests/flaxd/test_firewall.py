# SPDX-License-Identifier: Apache-2.0
"""When the daemon looks at the firewall, at which places, and for which UDP ports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from linen.core.notation import to_map
from linen.flaxd.firewall import INTERVAL, Firewall
from linen.flaxd.local_networks import LocalNetworks
from linen.netlink.monitor import Monitor
from linen.settings.table import Settings, load
from support.host import wait_until
from support.replicas import PAIRS, REFERENCES, TEXT, replica_of

if TYPE_CHECKING:
    from linen.ovsdb.replica import Replica
    from support.host import Host

UNDERLAY = {"kbr0": 1}  # with pods on the device of the tunnels there is no table to be written


def chosen(**arguments: str) -> Settings:
    """Settings of a network of which no host has a table."""
    given = {name.replace("_", "-"): text for name, text in arguments.items()}
    return load({"node": "node1", "network": "test-firewall"} | given, {}, None)


def test_restart_takes_nothing_away() -> None:
    """The table stays as it is until it is known which other networks the node has."""

    async def start() -> tuple[bool, bool]:
        changed = asyncio.Event()
        networks = LocalNetworks(chosen(), replica(), Monitor(lambda: None))
        firewall = Firewall(chosen(), networks, lambda: UNDERLAY, changed.set)
        async with asyncio.timeout(10):
            running = asyncio.create_task(firewall.run())
            await asyncio.sleep(0)  # it has had its turn
            before = firewall.is_settled
            firewall.consider()
            await changed.wait()
            running.cancel()
            await asyncio.wait([running])
        return before, firewall.is_settled

    assert asyncio.run(start()) == (False, True)


def replica(*interfaces: tuple[str, dict[str, str], dict[str, str]]) -> Replica:
    """A copy of OVSDB with these interfaces: type, options and marks."""
    columns = {
        "Bridge": {"name": TEXT, "external_ids": PAIRS, "controller": REFERENCES},
        "Interface": {"type": TEXT, "options": PAIRS, "external_ids": PAIRS},
    }
    rows = [
        {"type": kind, "options": to_map(options), "external_ids": to_map(marks)}
        for kind, options, marks in interfaces
    ]
    return replica_of(columns, {"Interface": rows})


OURS = {"linen-network": "other"}


@pytest.mark.parametrize(
    ("interfaces", "ports"),
    [
        ([], {9000}),
        ([("vxlan", {"dst_port": "8472"}, OURS)], {9000, 8472}),
        ([("vxlan", {}, OURS)], {9000, 4789}),
        ([("vxlan", {"dst_port": "8472"}, {})], {9000}),
        ([("geneve", {"dst_port": "6081"}, OURS)], {9000}),
        (
            [("vxlan", {"dst_port": text}, OURS) for text in ("74008", "http", "")],
            {9000, 8472, 4789},
        ),
    ],
)
def test_ports(
    interfaces: list[tuple[str, dict[str, str], dict[str, str]]], ports: set[int]
) -> None:
    """The ports are those of all tunnels of all networks, and the own before there is a tunnel.

    A number too large is what Open vSwitch makes of it, and what is none is the default.
    """
    monitor = Monitor(lambda: None)
    networks = LocalNetworks(chosen(dst_port="9000"), replica(*interfaces), monitor)

    assert networks.vxlan_ports() == ports


# Where packets are looked at: as the Linux bridge hands them to the host, or as the host does on.
EARLY, LATE = 'hook ingress device "kbr0"', "hook forward"


def wait_for(host: Host, place: str, seconds: float = 10) -> None:
    """Return when packets are looked at in one of these places, and not in the other."""
    (other,) = {EARLY, LATE} - {place}

    def is_there() -> bool:
        shown = host.run("nft", "list", "ruleset").stdout
        return place in shown and other not in shown

    wait_until(is_there, place, seconds)


@pytest.mark.usefixtures("flaxd")
def test_the_linux_bridge_comes_and_goes(node1: Host) -> None:
    """Packets are looked at as it hands them over from when it is there, also one made anew.

    Without it they are looked at later, so that none is let by before the daemon knows of it.
    """
    for _ in range(2):
        wait_for(node1, LATE)
        node1.run("ip", "link", "add", "name", "kbr0", "type", "bridge")
        wait_for(node1, EARLY)
        node1.run("ip", "link", "delete", "dev", "kbr0")


@pytest.mark.usefixtures("flaxd")
def test_packets_that_are_not_translated_yet(node1: Host) -> None:
    """Where the firewall does not see all that the bridge carries, they are looked at later.

    That it does not is seen at the next look.
    """
    node1.run("ip", "link", "add", "name", "kbr0", "type", "bridge")
    wait_for(node1, EARLY)

    node1.run("sysctl", "--write", "net.bridge.bridge-nf-call-ip6tables=0")

    wait_for(node1, LATE, INTERVAL * 2)


@pytest.mark.usefixtures("flaxd")
def test_with_a_controller(node1: Host) -> None:
    """While a controller is attached the firewall goes on looking at packets between pods.

    Nothing else would while it is away.
    """
    node1.run("ip", "link", "add", "name", "kbr0", "type", "bridge")
    wait_for(node1, EARLY)

    node1.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
    wait_for(node1, LATE)

    node1.vsctl("del-controller", "br0")
    wait_for(node1, EARLY)
