# SPDX-License-Identifier: Apache-2.0
"""What a daemon in Kubernetes tells of its own node, when nobody tells it that it has changed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from linen.core import cluster
from linen.flaxd import bridge_netfilter, vtep
from linen.flaxd.kubernetes import KubernetesSource
from linen.kube.access import Access
from linen.kube.nodes import OwnNode
from linen.netlink.monitor import Monitor
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
        self._source = KubernetesSource(
            Access("https://127.0.0.1:1"), chosen, Monitor(lambda: None)
        )
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
