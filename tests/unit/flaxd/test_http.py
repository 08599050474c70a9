# SPDX-License-Identifier: Apache-2.0
"""The daemon's HTTP server, asked as Prometheus, a kubelet, and a nuisance would ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from linen.flaxd import http
from linen.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


@dataclass
class Told:
    """What the daemon has to tell."""

    stuck: list[str] = field(default_factory=list)
    not_ready: list[str] = field(default_factory=list)
    state: Any = None

    def views(self) -> http.Views:
        """The callbacks that the server asks."""
        return http.Views(
            stuck=lambda: self.stuck,
            not_ready=lambda: self.not_ready,
            metrics=lambda: b"flaxd_peers 3\n",
            state=lambda: self.state,
        )


@dataclass
class Reply:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.asynccontextmanager
async def serving(told: Told, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, int]]:
    server = http.Server((host, 0), told.views())
    address = await server.start()
    try:
        yield address
    finally:
        await server.close()


async def exchange(address: tuple[str, int], request: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def ask(address: tuple[str, int], path: str, method: str = "GET") -> Reply:
    raw = await exchange(address, f"{method} {path} HTTP/1.1\r\nHost: node1\r\n\r\n".encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Reply(int(status.split()[1]), headers, body)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())


def test_pages() -> None:
    """Each page has its status, its type and its length."""

    async def look() -> None:
        told = Told(state={"peers": ["n\u00f6de"]})
        async with serving(told) as address:
            for path in ("/healthz", "/readyz"):
                reply = await ask(address, path)
                assert (reply.status, reply.body) == (200, b"ok\n")
            reply = await ask(address, "/metrics?name=x")
            assert (reply.status, reply.body) == (200, b"flaxd_peers 3\n")
            assert reply.headers["Content-Type"].startswith("text/plain; version=")
            reply = await ask(address, "/state")
            assert json.loads(reply.body) == told.state
            assert reply.headers["Content-Type"] == "application/json"
            assert reply.headers["Content-Length"] == str(len(reply.body))

    run(look())


def test_not_well() -> None:
    """What is wrong is told with status 503, a reason a line, also where a reason has several."""

    async def look() -> None:
        told = Told(stuck=["nothing was decided for 70 s"], not_ready=["OVSDB:\nno", "no conflist"])
        async with serving(told) as address:
            reply = await ask(address, "/healthz")
            assert (reply.status, reply.body) == (503, b"nothing was decided for 70 s\n")
            reply = await ask(address, "/readyz")
            assert (reply.status, reply.body) == (503, b"OVSDB: no\nno conflist\n")

            told.not_ready = []
            assert (await ask(address, "/readyz")).status == 200

    run(look())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "http://node1/metrics", 404),
        ("POST", "/state", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/healthz", 405),
    ],
)
def test_other_requests(method: str, path: str, status: int) -> None:
    """Anything but a look at a page is refused, with what would be right."""

    async def look() -> None:
        async with serving(Told()) as address:
            reply = await ask(address, path, method)
            assert reply.status == status
            assert reply.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)
            assert (b"/metrics" in reply.body) == (status == 404)

    run(look())


def test_head() -> None:
    """HEAD gets the headers of GET and no body."""

    async def look() -> None:
        async with serving(Told()) as address:
            reply = await ask(address, "/metrics", "HEAD")
            assert (reply.status, reply.body) == (200, b"")
            assert reply.headers["Content-Length"] == "14"

    run(look())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /m\xff HTTP/1.1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_malformed_requests(request_: bytes, status: bytes) -> None:
    """What is no HTTP, or too much of it, is refused and costs nobody else anything."""

    async def look() -> None:
        async with serving(Told()) as address:
            answer = await exchange(address, request_)
            assert answer.split()[1] == status
            assert (await ask(address, "/healthz")).status == 200

    run(look())


def test_slow_client_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not finish its request is dropped after a while; others don't wait for it."""
    monkeypatch.setattr(http, "PATIENCE", 1.0)

    async def look() -> None:
        async with serving(Told()) as address:
            slow, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /metrics HT")
            assert (await ask(address, "/healthz")).status == 200
            with contextlib.suppress(ConnectionResetError):
                assert await slow.read() == b""
            writer.close()

    run(look())


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of connections new ones are dropped, until one of the others ends."""
    monkeypatch.setattr(http, "MOST_LOCAL", 2)

    async def look() -> None:
        async with serving(Told()) as address:
            held = [await asyncio.open_connection(*address) for _ in range(2)]
            with contextlib.suppress(ConnectionResetError):
                assert await exchange(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b""

            for _, writer in held:
                writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            for reader, writer in held:
                assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
                writer.close()
                await writer.wait_closed()
            # The server has let go of both before it reads what comes after.
            assert (await ask(address, "/healthz")).status == 200

    run(look())


def test_fault_in_a_page(caplog: pytest.LogCaptureFixture) -> None:
    """A page that fails answers 500 and is logged, and the server goes on."""

    async def look() -> None:
        told = Told(state=object())
        async with serving(told) as address:
            with caplog.at_level(logging.ERROR):
                assert (await ask(address, "/state")).status == 500
            assert (await ask(address, "/healthz")).status == 200

    run(look())

    assert "cannot show /state" in caplog.text


def test_port_in_use() -> None:
    """A port that is taken is an error that names the address and what to do."""

    async def look() -> None:
        async with serving(Told()) as address:
            second = http.Server(address, Told().views())
            with pytest.raises(HostError) as caught:
                await second.start()
            assert caught.value.message == (
                f"cannot listen on 127.0.0.1:{address[1]}: Address already in use"
            )
            assert "--listen" in caught.value.details

    run(look())


def test_address_of_another_host() -> None:
    """An address that this host does not have is an error that names it."""

    async def look() -> None:
        with pytest.raises(HostError, match=r"192\.0\.2\.1:9474: Cannot assign requested address"):
            await http.Server(("192.0.2.1", 9474), Told().views()).start()

    run(look())


def test_ipv6() -> None:
    """An IPv6 address can be listened on."""

    async def look() -> None:
        async with serving(Told(), "::1") as address:
            assert address[0] == "::1"
            assert (await ask(address, "/healthz")).status == 200

    run(look())
    assert http.shown("::1", 9474) == "[::1]:9474"
