# SPDX-License-Identifier: Apache-2.0
"""What a daemon in Kubernetes tells of its own node, when nobody tells it that it has changed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from struct import pack
from typing import TYPE_CHECKING

import pytest

from linen.core import cluster
from linen.flaxd import bridge_netfilter, vtep
from linen.flaxd.kubernetes import KubernetesSource
from linen.kube import nodes, patches
from linen.kube.access import Access
from linen.kube.client import Client
from linen.kube.nodes import OwnNode
from linen.netlink import codec
from linen.netlink.monitor import Address, Monitor
from linen.settings.table import load
from support.notices import Notice, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

OWN = OwnNode("n0", "uid", vteps=("10.0.0.1",), pod_ranges=("10.244.0.0/24",))


class Looking:
    """A source that has read this Node, and what it told last."""

    def __init__(self) -> None:
        chosen = load({"node": "n0"}, {}, None)
        client = Client(Access("https://127.0.0.1:1"), "linen-tests")
        self._source = KubernetesSource(client, chosen, Monitor(lambda: None))
        self._notice = Notice()
        self.last: cluster.View | None = None

    def read(self, node: OwnNode) -> None:
        """Have all that there is read from the API server, the own Node so."""
        self._source._own.records[node.name] = node
        self._source._own.synced = self._source._all.synced = True
        self._source._wake.set()

    async def run(self) -> None:
        """Look at whatever calls for it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._source._watch_kernel())  # as at a start: before the first look
            tasks.create_task(self._source._look_for_ever(self._learn))

    def _learn(self, view: cluster.View, _names: object) -> None:
        self.last = view
        self._notice()

    async def until(self, condition: Callable[[cluster.View], object], what: str) -> None:
        """Return as soon as a view is such."""
        await self._notice.until(lambda: self.last is not None and condition(self.last), what)


@contextlib.asynccontextmanager
async def looking() -> AsyncIterator[Looking]:
    """A source that looks, with the own Node read."""
    found = Looking()
    async with running(found.run()):
        found.read(OWN)
        yield found


@pytest.fixture(autouse=True)
def set_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Sets what lets services' answers through, which it does at first, and is looked at often."""
    monkeypatch.setattr(bridge_netfilter, "_FOLDER", tmp_path)
    monkeypatch.setattr(bridge_netfilter, "PAUSE", 0.02)
    setting = tmp_path / "bridge-nf-call-iptables"
    setting.write_text("1")
    return setting.write_text


def test_an_address_that_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that has gone stays told for its time, and then that there is none."""
    monkeypatch.setattr(vtep, "PATIENCE", 0.2)

    async def body() -> None:
        async with looking() as source:
            await source.until(lambda view: view.own, "the address")
            began = asyncio.get_running_loop().time()
            source.read(replace(OWN, vteps=(), pod_ranges=()))
            await source.until(lambda view: view.own and not view.own.ranges, "the next view")
            assert source.last is not None
            assert source.last.own == cluster.Peer("n0", "10.0.0.1")

            await source.until(lambda view: view.own is None, "the end of patience")
            assert asyncio.get_running_loop().time() - began >= vtep.PATIENCE
            assert source.last.faults[0].startswith("this node has no tunnel address")

    asyncio.run(body())


def test_a_kernel_that_changes(set_kernel: Callable[[str], object]) -> None:
    """A setting of the kernel's that is wrong is told, and no more once it is right.

    So it is with one that was wrong only when this node was first told.
    """

    async def body() -> None:
        async with looking() as source:
            for value, is_wrong in ("0", True), ("1", False), ("0", True), ("1", False):
                set_kernel(value)
                told = f"{value} to be told"
                await source.until(lambda view: bool(view.faults) == is_wrong, told)  # noqa: B023

    asyncio.run(body())


FIRST, SECOND = "10.245.0.1", "10.245.0.2"  # tunnel addresses that the first network tells in turn


class Secondary:
    """A secondary network's source, on a node that has both addresses, and what it would write.

    By itself it would choose another address than the first network's daemon does.
    """

    def __init__(self, own_choice: str = "10.245.0.9") -> None:
        monitor = Monitor(lambda: None)
        link = codec.message(codec.RTM_NEWLINK, 0, pack(codec.LINK, 0, 0, 1, 0, 0))
        monitor._links = {1: codec.Link(link)}
        monitor.addresses = {Address(1, ip, 16, 0, is_passing=False) for ip in (FIRST, SECOND)}
        chosen = load({"node": "n0", "vtep-ip": own_choice, "gateway": "none"}, {}, None)
        client = Client(Access("https://127.0.0.1:1"), "linen-tests")
        self._source = KubernetesSource(client, chosen, monitor)

    def hear(self, own: str | None, everybody: str | None) -> tuple[str, object]:
        """The address that it takes, and what it would write, by what its two watches have heard.

        `own`: the own Node's annotation, as the watch of that has it; `everybody`: as the watch of
        all Nodes has it.
        """
        source = self._source
        heard = nodes.parse_own(node(own))
        record = nodes.parse_record(node(everybody))
        assert heard is not None
        assert record is not None
        source._own.records["n0"], source._all.records["n0"] = heard, record
        source._look(lambda *_: None)
        peer = source._own_peer
        assert peer is not None
        return peer.vtep, patches.publication(heard, peer)


def node(vtep: str | None) -> dict[str, object]:
    """The own Node, whose annotations tell this address."""
    told = {nodes.VTEP: vtep, nodes.VERSION: "1"} if vtep else {}
    return {"metadata": {"name": "n0", "uid": "uid", "annotations": told}}


@pytest.mark.parametrize("between", [(SECOND, FIRST), (FIRST, SECOND)], ids=["own", "all"])
def test_an_address_that_the_first_network_moves(between: tuple[str, str]) -> None:
    """Whichever watch hears first of the first network's new address, the old one is not written.

    It is the own Node that would be written to, so what that says is what counts.
    """
    secondary = Secondary()
    assert secondary.hear(FIRST, FIRST) == (FIRST, None)

    assert secondary.hear(*between) == (between[0], None)

    assert secondary.hear(SECOND, SECOND) == (SECOND, None)


@pytest.mark.parametrize("choice", [FIRST, "10.245.0.9"], ids=["on a device", "on none"])
def test_an_address_that_it_has_told_itself(choice: str) -> None:
    """Where no other network's daemon tells an address it tells its own, and then keeps to it.

    Until that one does, whose word holds from then on.
    """
    secondary = Secondary(choice)
    told, written = secondary.hear(None, None)
    assert told == choice
    assert written is not None

    for own, everybody in (None, choice), (choice, None), (choice, choice):
        assert secondary.hear(own, everybody)[0] == choice
    assert secondary.hear(SECOND, choice) == (SECOND, None)


def test_an_address_that_the_writer_hears_of_first() -> None:
    """Nothing is written by a Node that was read after it was settled what that should say."""
    source = Secondary()
    source.hear(FIRST, FIRST)
    writer = source._source._writer
    heard = nodes.parse_own(node(SECOND))
    assert heard is not None
    source._source._own.records["n0"] = heard

    asyncio.run(writer._write())  # which would fail: there is no API server
