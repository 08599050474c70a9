# SPDX-License-Identifier: Apache-2.0
"""Writes that the API server takes its time for, as it does where a webhook does not answer."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest

from linen.core.cluster import Peer, View
from linen.flaxd import node_writer, own_account
from linen.flaxd.kubernetes import KubernetesSource, connected
from linen.flaxd.removal import Removed
from linen.kube import access
from linen.netlink.monitor import Monitor
from linen.settings.table import load
from support.kube_watches import run
from support.kubernetes_nodes import ACCOUNT
from support.notices import Notice, running
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from support.control_plane import ControlPlane

Making: TypeAlias = "Callable[[], AbstractAsyncContextManager[KubernetesSource]]"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SOON = 8.0  # seconds: less than the 10 that the API server gives a webhook to say who it is


@contextmanager
def mute_webhook(plane: ControlPlane) -> Iterator[socket.socket]:
    """A webhook for changes of Nodes that takes connections and says nothing: its socket."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes", "nodes/status"]}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        webhook = {
            "name": "mute.linen.test",
            "clientConfig": {"url": f"https://127.0.0.1:{listener.getsockname()[1]}/"},
            "rules": [rule | {"operations": ["UPDATE"]}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 30,
        }
        plane.request("POST", WEBHOOKS, {"metadata": {"name": "mute"}, "webhooks": [webhook]})
        try:
            yield listener
        finally:
            plane.request("DELETE", f"{WEBHOOKS}/mute")


async def hang(source: KubernetesSource, listener: socket.socket) -> None:
    """Return when a write hangs: the API server follows a new webhook a moment later."""
    number = 0
    async with asyncio.timeout(30):
        while not select.select([listener], [], [], 0)[0]:
            number += 1
            source.report((f"something else is amiss: {number}",), ())
            await asyncio.sleep(0.1)


@pytest.fixture
def make(plane: ControlPlane, tmp_path: Path) -> Making:
    """Makes node1's."""
    plane.add_node("node1")
    token = tmp_path / "token"
    token.write_text(plane.request_token(ACCOUNT, "node1"))
    given = {"node": "node1", "vtep-ip": "10.245.0.1", "service-account": ACCOUNT}
    chosen = load(given, {}, None)

    @asynccontextmanager
    async def made() -> AsyncIterator[KubernetesSource]:
        way = access.load(plane.token_kubeconfig(token))
        async with connected(way, chosen.service_account) as make_source:
            yield make_source(chosen, Monitor(lambda: None))

    return made


def test_news_come_while_a_write_hangs(plane: ControlPlane, make: Making) -> None:
    """A node that joins is told at once, whatever becomes of what this one has to write."""

    async def body(listener: socket.socket) -> None:
        views, seen = list[View](), Notice()

        def learn(view: View, _: object) -> None:
            views.append(view)
            seen()

        async with make() as source, running(source.run(learn)):
            await seen.until(lambda: views, "the Nodes")
            await hang(source, listener)
            for number in range(2, 6):
                peer = Peer(f"node{number}", f"10.245.0.{number}")
                plane.add_node(peer.name, annotations={"linen-cni/vtep": peer.vtep})
                await seen.until(lambda: views[-1].nodes.get(peer.name) == peer, "it", SOON)  # noqa: B023

    with mute_webhook(plane) as listener:
        run(body(listener))


def test_removal_while_a_write_hangs(
    plane: ControlPlane, make: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That Linen is taken off the cluster is noticed while a write hangs."""
    monkeypatch.setattr(own_account, "GRACE", 0.1)
    monkeypatch.setattr(node_writer, "LAST_WORDS", 1.0)  # which hang as well

    async def body(listener: socket.socket) -> None:
        seen = Notice()
        async with make() as source:
            task = asyncio.create_task(source.run(lambda *_: seen()))
            await seen.until(lambda: seen.calls, "the Nodes")
            await hang(source, listener)
            async with asyncio.timeout(SOON):
                plane.request("DELETE", "/api/v1/namespaces/linen-system/serviceaccounts/flaxd")
                with pytest.RaisesGroup(Removed, flatten_subgroups=True):
                    await task

    try:
        with mute_webhook(plane) as listener:
            run(body(listener))
    finally:
        plane.apply(CHECKOUT / "deploy" / "base" / "rbac.yaml")


def test_nothing_is_told_after_it_was_taken_back(plane: ControlPlane, make: Making) -> None:
    """A daemon that has taken back what its Node says of it does not say it again."""

    def said() -> bool:
        return "linen-cni/vtep" in plane.node("node1")["metadata"].get("annotations", {})

    async def body() -> None:
        views, seen = list[View](), Notice()

        def learn(view: View, _: object) -> None:
            views.append(view)
            seen()

        async with make() as source, running(source.run(learn)):
            await seen.until(
                lambda: views and source._own.records["node1"].annotations, "the annotations"
            )
            await source._writer.withdraw()
            assert not said()
            plane.add_node("node2", annotations={"linen-cni/vtep": "10.245.0.2"})
            await seen.until(lambda: "node2" in views[-1].nodes, "node2")
            plane.add_node("node3", annotations={"linen-cni/vtep": "10.245.0.3"})
            await seen.until(lambda: "node3" in views[-1].nodes, "node3")
            await source._client.get("/version")  # later than anything it might have written
            assert not said()

    run(body())
