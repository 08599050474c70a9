# SPDX-License-Identifier: Apache-2.0
"""Which of its addresses a node's tunnels end at: all nodes choose the same IP version."""

from __future__ import annotations

import pytest

from linen.flaxd import vtep
from linen.host import settings

BOTH = ["2001:db8::1", "192.0.2.1"]


def given(**texts: str) -> settings.Settings:
    """The daemon's settings."""
    return settings.load({name.replace("_", "-"): text for name, text in texts.items()}, {}, None)


@pytest.mark.parametrize(
    ("family", "own", "chosen"),
    [
        (None, [], None),
        (None, ["192.0.2.1"], "192.0.2.1"),
        (None, ["2001:db8::1"], "2001:db8::1"),
        (None, BOTH, "192.0.2.1"),
        (None, BOTH[::-1], "192.0.2.1"),
        ("ipv4", BOTH, "192.0.2.1"),
        ("ipv4", ["2001:db8::1"], None),
        ("ipv6", BOTH[::-1], "2001:db8::1"),
        ("ipv6", ["192.0.2.1"], None),
    ],
)
def test_ip_version(family: str | None, own: list[str], chosen: str | None) -> None:
    """IPv4 where there is an address of it, in whatever order, unless another version is set."""
    wanted = given() if family is None else given(vtep_family=family)

    assert vtep.choose(wanted, own) == chosen
    assert bool(vtep.fault(wanted, own)) == (chosen is None)


def test_address_that_is_set() -> None:
    """An address that is set counts, whatever else the node has."""
    assert vtep.choose(given(vtep_ip="2001:db8::7"), BOTH) == "2001:db8::7"


def test_what_is_said() -> None:
    """Without a fitting address it is said which, where, what there is instead, and the cure."""
    assert vtep.fault(given(vtep_family="ipv6"), ["192.0.2.1"]) == (
        "this node has no tunnel address: the Node has no IPv6 InternalIP, but 192.0.2.1:"
        " give it one, or change vtep-family"
    )
    assert vtep.fault(given(vtep_interface="eth1"), []) == (
        "this node has no tunnel address: device eth1 has no address that others can reach"
    )


def test_address_and_version_exclude_each_other() -> None:
    """Who sets the address has said its version already."""
    with pytest.raises(settings.SettingsInvalid, match="vtep-ip and vtep-family exclude"):
        given(vtep_ip="192.0.2.1", vtep_family="ipv4")
