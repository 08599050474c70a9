# SPDX-License-Identifier: Apache-2.0
"""Who the client is to the API server, also after its credentials were replaced."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linen.core.cluster import Peer
from linen.kube import access, errors, nodes
from linen.kube.client import Client
from support import pki
from support.kube_watches import Watched, run, watching, watching_any
from support.notices import running
from support.relay import Relay

if TYPE_CHECKING:
    from support.control_plane import ControlPlane

FLAXD = "linen-system/flaxd"


def replace_file(path: Path, text: str) -> None:
    """As the kubelet does it: a new file, renamed over the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def test_a_rotated_token(plane: ControlPlane, tmp_path: Path) -> None:
    """A watch whose token has expired goes on as soon as the file holds a new one."""
    plane.add_node("node1")
    token = tmp_path / "token"
    token.write_text(plane.sign_token(FLAXD, "node1", seconds=-1))

    async def body() -> None:
        async with watching_any(plane.token_kubeconfig(token), nodes.parse_record) as watched:
            await watched.until(lambda: "Unauthorized" in watched.watch.problem)
            assert not watched.watch.synced

            replace_file(token, plane.sign_token(FLAXD, "node1", seconds=600))
            await watched.until_current()
            assert list(watched.records) == ["node1"]

    run(body())


def test_a_token_that_expires_during_a_watch(plane: ControlPlane, tmp_path: Path) -> None:
    """A token is read anew for each request: the client acts as whoever the file says now."""
    for name in ("node1", "node2"):
        plane.add_node(name)
    token = tmp_path / "token"
    token.write_text(plane.request_token(FLAXD, "node1"))

    async def body() -> None:
        async with watching(plane.token_kubeconfig(token)) as watched:
            patch = {"metadata": {"annotations": {nodes.VTEP: "10.0.0.1"}}}
            await watched.client.patch("/api/v1/nodes/node1", patch, "application/merge-patch+json")
            replace_file(token, plane.request_token(FLAXD, "node2"))
            with pytest.raises(errors.ApiRefused, match="only the Node that it runs on"):
                await watched.client.patch(
                    "/api/v1/nodes/node1", patch, "application/merge-patch+json"
                )
            await watched.client.patch("/api/v1/nodes/node2", patch, "application/merge-patch+json")
            await watched.until(lambda: watched.records["node2"].peer)
            assert watched.watch.lists == 1

    run(body())


def test_a_pod_finds_its_server(plane: ControlPlane, tmp_path: Path) -> None:
    """In a pod, the service account's folder and two variables are all that the client needs."""
    plane.add_node("node1")
    (tmp_path / "ca.crt").write_bytes(plane.ca.read_bytes())
    (tmp_path / "token").write_text(plane.request_token(FLAXD, "node1") + "\n")
    variables = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS": str(plane.port),
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }

    async def body() -> None:
        async with Client(access.from_pod(variables, tmp_path), "linen-tests") as client:
            node = await client.get("/api/v1/nodes/node1")
            assert node["metadata"]["name"] == "node1"

    run(body())


def test_proxies_of_the_environment_are_ignored(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names is not asked: the API server is in the cluster."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def body() -> None:
        async with Client(access.load(plane.admin_kubeconfig()), "linen-tests") as client:
            assert (await client.get("/version"))["major"]

    run(body())


def test_a_server_that_is_not_trusted(plane: ControlPlane, tmp_path: Path) -> None:
    """A server whose certificate the kubeconfig's authority did not sign gets no token."""
    other = tmp_path / "other.kubeconfig"
    text = plane.admin_kubeconfig().read_text()
    inside = "\n".join(line for line in text.splitlines() if "certificate-authority" not in line)
    other.write_text(inside)

    async def body() -> None:
        async with Client(access.load(other), "linen-tests") as client:
            with pytest.raises(errors.ApiUnavailable, match="certificate verify failed"):
                await client.get("/version")

    run(body())


def renew(folder: Path, files: dict[str, bytes]) -> None:
    """As the kubelet does it with a projected volume, when one of its files is another one.

    All of them are written, into a new folder, which takes the old one's place by a link.
    """
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    for name, content in files.items():
        (fresh / name).write_bytes(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..next").symlink_to(fresh.name)
    (folder / "..next").rename(folder / "..data")


def test_a_renewed_service_account(plane: ControlPlane, tmp_path: Path) -> None:
    """A new token ends no watch and no connection, though the kubelet writes all files anew."""
    plane.add_node("node1", annotations={nodes.VTEP: "10.0.0.1"})

    def files() -> dict[str, bytes]:
        token = plane.request_token(FLAXD, "node1")
        return {"ca.crt": plane.ca.read_bytes(), "token": token.encode()}

    async def body(relay: Relay) -> None:
        variables = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT_HTTPS": str(relay.port),
        }
        async with Client(access.from_pod(variables, tmp_path), "linen-tests") as client:
            watched = Watched(client, nodes.parse_record)
            async with running(watched.watch.run()):
                await watched.until_current()
                await client.get("/api/v1/nodes/node1")
                calls, connections = watched.calls, relay.connections
                renew(tmp_path, files())
                await client.get("/api/v1/nodes/node1")
                plane.annotate("node1", vtep="10.0.0.2")
                moved = Peer("node1", "10.0.0.2")
                await watched.until(lambda: watched.records["node1"].peer == moved)
                assert (watched.calls, relay.connections) == (calls + 1, connections)

    renew(tmp_path, files())
    with Relay(plane.port) as relay:
        run(body(relay))


def test_a_replaced_certificate(plane: ControlPlane, tmp_path: Path) -> None:
    """A client certificate that is another one on disk is used for the next request.

    A watch that was begun with the one before goes on.
    """
    kubeconfig = tmp_path / "kubeconfig"
    text = plane.admin_kubeconfig().read_text()
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (tmp_path / name).write_bytes((plane.folder / name).read_bytes())
        text = text.replace(str(plane.folder / name), name)
    kubeconfig.write_text(text)
    plane.add_node("node1")

    async def user(client: Client) -> str:
        answer = await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        name: str = answer["status"]["userInfo"]["username"]
        return name

    async def body() -> None:
        async with watching(kubeconfig) as watched:
            assert await user(watched.client) == "admin"

            other = plane.pki.client("other-admin", pki.ADMINISTRATORS)
            replace_file(tmp_path / "admin.crt", other.certificate.read_text())
            replace_file(tmp_path / "admin.key", other.key.read_text())
            assert await user(watched.client) == "other-admin"

            calls = watched.calls
            plane.annotate("node1", vtep="10.0.0.1")
            await watched.until(lambda: watched.records["node1"].peer)
            assert watched.calls == calls + 1

    run(body())


def test_an_unreachable_server_is_named(plane: ControlPlane, tmp_path: Path) -> None:
    """Where nothing listens, the error says so, with the URL."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        plane.admin_kubeconfig().read_text().replace(plane.url, "https://127.0.0.1:1")
    )

    async def body() -> None:
        async with Client(access.load(kubeconfig), "linen-tests") as client:
            with pytest.raises(errors.ApiUnavailable, match=r"https://127\.0\.0\.1:1: "):
                await client.get("/version")

    asyncio.run(body())
