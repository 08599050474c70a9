# SPDX-License-Identifier: Apache-2.0
"""When the daemon looks at the firewall, and for which UDP ports."""

from __future__ import annotations

import asyncio

import pytest

from linen.flaxd.firewall import Firewall
from linen.flaxd.local_networks import TUNNEL_QUESTION, vxlan_ports
from linen.ovsdb.replica import Replica, columns_read_by
from linen.settings.table import Settings, load

UNDERLAY = ["kbr0"]  # with pods on the device of the tunnels there is no table to be written


def chosen(**arguments: str) -> Settings:
    """Settings of a network of which no host has a table."""
    given = {name.replace("_", "-"): text for name, text in arguments.items()}
    return load({"node": "node1", "network": "test-firewall"} | given, {}, None)


def test_restart_takes_nothing_away() -> None:
    """The table stays as it is until it is known which other networks the node has."""

    async def start() -> tuple[bool, bool]:
        changed = asyncio.Event()
        firewall = Firewall(chosen(), lambda: UNDERLAY, tuple, lambda: [4789], changed.set)
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
    found = Replica(columns_read_by([TUNNEL_QUESTION]))
    texts = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}
    columns = {
        "type": {"type": "string"},
        "options": {"type": texts},
        "external_ids": {"type": texts},
    }
    found.learn({"tables": {"Interface": {"columns": columns}}})
    rows = {
        f"row{number}": {
            "initial": {
                "type": kind,
                "options": ["map", [list(pair) for pair in options.items()]],
                "external_ids": ["map", [list(pair) for pair in marks.items()]],
            }
        }
        for number, (kind, options, marks) in enumerate(interfaces)
    }
    found.replace({"Interface": rows})
    return found


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
    """They are those of all tunnels of all networks, and the own before there is a tunnel.

    A number too large is what Open vSwitch makes of it, and what is none is the default.
    """
    assert vxlan_ports(chosen(dst_port="9000"), replica(*interfaces)) == ports
