# SPDX-License-Identifier: Apache-2.0
"""Who the client is to the API server, also after its credentials were replaced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from linen.kube import access, errors, nodes
from linen.kube.client import Client
from support.kube_watches import run, watching, watching_any

if TYPE_CHECKING:
    from pathlib import Path

    from support.kubernetes import ControlPlane

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

            replace_file(token, plane.sign_token(FLAXD, "node1", seconds=60))
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


def test_a_replaced_certificate(plane: ControlPlane, tmp_path: Path) -> None:
    """A client certificate that is replaced on disk is used for the next request."""
    kubeconfig = tmp_path / "kubeconfig"
    text = plane.admin_kubeconfig().read_text()
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (tmp_path / name).write_bytes((plane.folder / name).read_bytes())
        text = text.replace(str(plane.folder / name), name)
    kubeconfig.write_text(text)

    async def body() -> None:
        async with Client(access.load(kubeconfig), "linen-tests") as client:
            await client.get("/api/v1/nodes")
            first = client._http
            await client.get("/api/v1/nodes")
            assert client._http is first

            replace_file(tmp_path / "admin.crt", (plane.folder / "admin.crt").read_text())
            await client.get("/api/v1/nodes")
            assert client._http is not first

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
