# SPDX-License-Identifier: Apache-2.0
"""Which of its addresses a node's tunnels end at: all nodes choose the same IP version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from linen.flaxd import vtep
from linen.settings.table import Settings, SettingsInvalid, load
from support.notices import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = ["2001:db8::1", "192.0.2.1"]


def given(**texts: str) -> Settings:
    """The daemon's settings."""
    return load({name.replace("_", "-"): text for name, text in texts.items()}, {}, None)


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
    """The tunnel's address and its IP version cannot both be set: the address says it already."""
    with pytest.raises(SettingsInvalid, match="vtep-ip and vtep-family exclude"):
        given(vtep_ip="192.0.2.1", vtep_family="ipv4")


# --- addresses that are away ---


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds for which an address may be away, few of them."""
    monkeypatch.setattr(vtep, "PATIENCE", 0.05)
    return 0.05


def held(*steps: tuple[list[str], str | None]) -> vtep.Held:
    """After these candidates, each of which was to lead to that address."""
    chosen = given()
    found = vtep.Held(lambda: None)
    for own, expected in steps:
        assert found.follow(vtep.choose(chosen, own), own) == expected, own
    return found


def run(work: Callable[[], object]) -> None:
    """Run a test in a loop."""

    async def body() -> None:
        work()

    asyncio.run(body())


def test_an_address_that_is_away() -> None:
    """An absent address stays this node's for a while, with none or another version's there."""
    run(lambda: held(([], None), (BOTH, "192.0.2.1"), (BOTH[:1], "192.0.2.1"), ([], "192.0.2.1")))


def test_another_address() -> None:
    """An address that replaces one of its IP version is the node's at once, and so is IPv4."""
    run(lambda: held((["192.0.2.1"], "192.0.2.1"), (["192.0.2.7"], "192.0.2.7")))
    run(lambda: held((BOTH[:1], "2001:db8::1"), (BOTH, "192.0.2.1")))
    run(lambda: held((["192.0.2.1"], "192.0.2.1"), ([], "192.0.2.1"), (["192.0.2.7"], "192.0.2.7")))


@pytest.mark.parametrize(("own", "then"), [([], None), (BOTH[:1], "2001:db8::1")])
def test_an_address_that_stays_away(patience: float, own: list[str], then: str | None) -> None:
    """An address that stays away gives way to another or none after its time, and that is told."""

    async def body() -> None:
        told = Notice()
        found = vtep.Held(told)
        assert found.follow("192.0.2.1", BOTH) == "192.0.2.1"
        began = asyncio.get_running_loop().time()
        assert found.follow(then, own) == "192.0.2.1"
        await told.until(lambda: told.calls, "the end of patience")
        assert asyncio.get_running_loop().time() - began >= patience
        assert found.follow(then, own) == then

    asyncio.run(body())


def test_an_address_that_comes_and_goes(patience: float) -> None:
    """Each absence of an address has its whole time."""

    async def body() -> None:
        found = vtep.Held(told := Notice())
        loop = asyncio.get_running_loop()
        assert found.follow("192.0.2.1", ["192.0.2.1"]) == "192.0.2.1"
        assert found.follow(None, []) == "192.0.2.1"
        assert found.follow("192.0.2.1", ["192.0.2.1"]) == "192.0.2.1"
        await asyncio.sleep(2 * patience)  # what was left of the first absence is over
        before = told.calls
        assert not before
        began = loop.time()
        assert found.follow(None, []) == "192.0.2.1"
        await told.until(lambda: told.calls, "the end of patience")
        assert loop.time() - began >= patience
        assert told.calls == before + 1

    asyncio.run(body())
