# SPDX-License-Identifier: Apache-2.0
"""The watch of all Nodes, against a real API server."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from linen.core.cluster import Peer
from linen.kube.nodes import parse_own
from support.control_plane import temporary_control_plane
from support.host import wait_until
from support.kube_watches import QUICK, Watched, run, watching, watching_own
from support.notices import running
from support.relay import Relay

if TYPE_CHECKING:
    from pathlib import Path

    from linen.kube.nodes import NodeRecord
    from support.control_plane import ControlPlane

NODE1 = {"linen-cni/vtep": "10.245.2.2", "linen-cni/pod-ranges": "10.244.1.0/24"}
CHANGED = {"linen-cni/vtep": "10.245.2.99"}


def test_nodes_come_change_and_go(plane: ControlPlane) -> None:
    """Nodes that are there, and each that comes, changes or goes, are in the records at once."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        async with watching(plane.admin_kubeconfig()) as watched:
            assert watched.records["node1"].peer == Peer(
                "node1", "10.245.2.2", ranges=["10.244.1.0/24"]
            )

            plane.add_node("node2")
            await watched.until(lambda: "node2" in watched.records)
            assert watched.records["node2"].peer is None

            plane.annotate("node2", vtep="10.245.2.3", master="true")
            await watched.until(lambda: watched.records["node2"].peer)
            assert watched.records["node2"].peer == Peer("node2", "10.245.2.3", is_master=True)

            plane.delete_node("node1")
            await watched.until(lambda: "node1" not in watched.records)
            assert list(watched.records) == ["node2"]
            assert watched.watch.lists == 1

    run(body())


def test_heartbeats_are_nobodys_business(plane: ControlPlane) -> None:
    """A Node whose status, labels or other annotations change calls for no attention."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        async with watching(plane.admin_kubeconfig()) as watched:
            calls = watched.calls
            plane.set_addresses("node1", ["192.0.2.1"])
            plane.patch_node("node1", {"metadata": {"labels": {"zone": "a"}}})
            plane.patch_node("node1", {"metadata": {"annotations": {"other": "1"}}})

            plane.annotate("node1", vtep="10.245.2.4")
            await watched.until(lambda: watched.calls > calls)
            assert watched.calls == calls + 1
            assert watched.records["node1"].peer == Peer(
                "node1", "10.245.2.4", ranges=["10.244.1.0/24"]
            )

    run(body())


def test_a_list_comes_in_pages(plane: ControlPlane) -> None:
    """200 Nodes are read in pages, and 200 more that come at once are all seen."""

    async def body() -> None:
        for number in range(200):
            vtep = {"linen-cni/vtep": f"10.245.3.{number}"}
            plane.add_node(f"first-{number}", annotations=vtep)
        async with watching(plane.admin_kubeconfig(), pace=replace(QUICK, page=50)) as watched:
            assert len(watched.records) == 200
            calls = watched.calls

            def add() -> None:
                for number in range(200):
                    vtep = {"linen-cni/vtep": f"10.245.4.{number}"}
                    plane.add_node(f"second-{number}", annotations=vtep)

            await asyncio.gather(
                asyncio.to_thread(add), watched.until(lambda: len(watched.records) == 400)
            )
            assert all(record.peer for record in watched.records.values())
            assert watched.calls - calls <= 200
            assert watched.watch.lists == 1

    run(body())


def test_a_watch_that_ends_is_resumed(plane: ControlPlane) -> None:
    """The server ends each watch after a while; what happens next is seen without a new list."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        pace = replace(QUICK, longest_watch=2, steady=0.1)
        async with watching(plane.admin_kubeconfig(), pace=pace) as watched:
            for number in range(12):
                plane.annotate("node1", vtep=f"10.245.5.{number}")
                wanted = f"10.245.5.{number}"
                await watched.until(lambda: _vtep(watched.records, "node1") == wanted)  # noqa: B023
                await asyncio.sleep(0.3)  # 12 changes, spread over several watches
            assert watched.watch.lists == 1
            assert not watched.watch.problem

    run(body())


def _vtep(records: dict[str, NodeRecord], name: str) -> str:
    peer = records[name].peer
    return peer.vtep if peer else ""


def test_bookmarks_keep_a_quiet_watch_recent(plane: ControlPlane) -> None:
    """A watch that nothing happens in still learns how far the cluster is, and so never expires."""

    async def body() -> None:
        plane.add_node("quiet", annotations=NODE1)
        plane.add_node("busy")
        pace = replace(QUICK, longest_watch=8)
        async with watching_own(plane.admin_kubeconfig(), "quiet", pace=pace) as watched:
            changed = plane.annotate("busy", vtep="10.245.2.9")
            revision = int(changed["metadata"]["resourceVersion"])
            calls = watched.calls
            await asyncio.to_thread(
                wait_until, lambda: watched.revision >= revision, "a bookmark", 20
            )
            assert watched.calls == calls
            assert watched.watch.lists == 1

    run(body())


def test_a_server_that_is_away(plane: ControlPlane) -> None:
    """While the API server is away the records stay, and since when is said; then it goes on."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        async with watching(plane.admin_kubeconfig()) as watched:
            assert watched.watch.stale_since is None
            before = asyncio.get_running_loop().time()
            plane.stop_api_server()
            await watched.until(lambda: watched.watch.problem)
            assert plane.url in watched.watch.problem
            assert watched.watch.stale_since is not None
            assert watched.watch.stale_since >= before
            assert watched.watch.synced
            assert list(watched.records) == ["node1"]

            await asyncio.to_thread(plane.start_api_server)
            plane.add_node("node2", annotations=CHANGED)
            await watched.until(lambda: "node2" in watched.records)
            await watched.until_current()
            assert watched.watch.stale_since is None

    run(body())


def test_a_cut_connection_is_resumed(plane: ControlPlane) -> None:
    """A watch whose connection is cut misses nothing, and needs no new list."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        with Relay(plane.port) as relay:
            kubeconfig = plane.admin_kubeconfig(f"https://127.0.0.1:{relay.port}")
            async with watching(kubeconfig) as watched:
                await asyncio.to_thread(relay.refuse)
                await watched.until(lambda: watched.watch.problem)
                plane.delete_node("node1")
                plane.add_node("node2", annotations=NODE1)
                relay.accept()
                await watched.until(lambda: set(watched.records) == {"node2"})
                await watched.until_current()
                assert watched.watch.lists == 1

    run(body())


def test_a_server_that_is_back_is_not_waited_for(plane: ControlPlane) -> None:
    """A watch goes on as soon as another of the same daemon has found the server again."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        patient = replace(QUICK, first_pause=1000, longest_pause=1000)
        with Relay(plane.port) as relay:
            kubeconfig = plane.admin_kubeconfig(f"https://127.0.0.1:{relay.port}")
            async with watching(kubeconfig) as quick:
                slow = Watched(quick.client, parse_own, only="node1", pace=patient)
                async with running(slow.watch.run()):
                    await slow.until_current()
                    await asyncio.to_thread(relay.refuse)
                    await slow.until(lambda: slow.watch.problem)
                    relay.accept()
                    await slow.until_current()

    run(body())


def test_an_expired_watch_lists_anew(plane: ControlPlane) -> None:
    """Where the server has forgotten the last revision, who went meanwhile is gone all the same."""

    async def body() -> None:
        for name in ("stays", "goes", "changes"):
            plane.add_node(name, annotations=NODE1)
        with Relay(plane.port) as relay:
            kubeconfig = plane.admin_kubeconfig(f"https://127.0.0.1:{relay.port}")
            async with watching(kubeconfig) as watched:
                await asyncio.to_thread(relay.refuse)
                await watched.until(lambda: watched.watch.problem)
                plane.delete_node("goes")
                plane.annotate("changes", vtep="10.245.2.99")
                plane.stop_api_server()
                plane.compact()
                await asyncio.to_thread(plane.start_api_server)
                relay.accept()
                await watched.until(lambda: "goes" not in watched.records)
                await watched.until_current()
                assert set(watched.records) == {"stays", "changes"}
                assert _vtep(watched.records, "changes") == "10.245.2.99"
                assert watched.watch.lists == 2

    run(body())


def test_a_server_that_falls_silent(plane: ControlPlane) -> None:
    """A server that says nothing for too long is taken for gone, and found again later."""

    async def body() -> None:
        plane.add_node("node1", annotations=NODE1)
        with Relay(plane.port) as relay:
            kubeconfig = plane.admin_kubeconfig(f"https://127.0.0.1:{relay.port}")
            async with watching(kubeconfig, pace=replace(QUICK, silence=2)) as watched:
                relay.freeze()
                await watched.until(lambda: watched.watch.problem)
                plane.add_node("node2", annotations=NODE1)
                relay.thaw()
                await watched.until(lambda: "node2" in watched.records)

    run(body())


def test_an_etcd_that_was_restored(tmp_path: Path) -> None:
    """Where etcd is put back to an earlier state, that and what happens later is seen.

    The API server takes a watch of a revision that is still to come, and says nothing on it.
    """
    backup = tmp_path / "etcd"

    async def body(plane: ControlPlane) -> None:
        def stop() -> None:
            plane.stop_api_server()
            plane.programs.stop("etcd")

        def back_up() -> None:
            stop()
            shutil.copytree(plane.folder / "etcd", backup)
            plane.start()

        def restore() -> None:
            stop()
            shutil.rmtree(plane.folder / "etcd")
            shutil.copytree(backup, plane.folder / "etcd")
            plane.start()

        def write() -> None:
            plane.add_node("later")
            for number in range(400):
                plane.annotate("later", vtep=f"10.245.6.{number % 250}")

        plane.add_node("earlier", annotations=NODE1)
        await asyncio.to_thread(back_up)
        pace = replace(QUICK, silence=3)
        async with watching(plane.admin_kubeconfig(), pace=pace) as watched:
            await asyncio.to_thread(write)
            await watched.until(lambda: _vtep(watched.records, "later") == "10.245.6.149")
            await asyncio.to_thread(restore)
            plane.add_node("new", annotations=CHANGED)
            await watched.until(lambda: set(watched.records) == {"earlier", "new"})

    with temporary_control_plane() as plane:
        run(body(plane))
