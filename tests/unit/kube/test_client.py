# SPDX-License-Identifier: Apache-2.0
"""The client against servers that a real API server is not: slow, silent, cut off, behind a proxy.

Each is a socket of this process that says what the test tells it to, over TLS.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from linen.kube import access, client, errors
from support.notices import Notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path
    from typing import Any, TypeAlias

    Behaviour: TypeAlias = Callable[
        ["Server", asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]
    ]

AUTHORITY = trustme.CA()
NAME = "kubernetes.test"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SECONDS = 30.0  # for a whole test
BRIEF = 0.2  # seconds, for a server that says nothing


def sized(body: bytes, head: bytes = OK) -> bytes:
    """An answer with a body."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(body: bytes) -> bytes:
    """A part of an answer that may have further ones."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class Server:
    """A server on loopback that deals with each connection by `behaviour`.

    `connections`: how many were made. `asked`: the head of each request. `ended`: set when a
    connection has been closed.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.port = 0
        self.connections = 0
        self.asked: list[bytes] = []
        self.ended = asyncio.Event()
        self._behaviour = behaviour

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Deal with one connection."""
        self.connections += 1
        try:
            await self._behaviour(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has closed it
        finally:
            writer.transport.abort()
            await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])
            self.ended.set()

    async def next_request(self, reader: asyncio.StreamReader) -> None:
        """Wait for a request without a body."""
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))


@asynccontextmanager
async def serving(behaviour: Behaviour, *names: str, tls: bool = True) -> AsyncIterator[Server]:
    """A server whose certificate is for `names`."""
    server = Server(behaviour)
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert(*names or ("127.0.0.1",)).configure_cert(context)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", ssl=context)
    async with listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server


def answering(*answers: bytes) -> Behaviour:
    """Give one answer after the other on the same connection, and close it."""

    async def behave(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for answer in answers:
            await server.next_request(reader)
            writer.write(answer)
            await writer.drain()

    return behave


def connecting(server: Server, **options: Any) -> client.Client:
    """A client of a server."""
    url = f"https://127.0.0.1:{server.port}"
    found = access.Access(url, authority=AUTHORITY.cert_pem.bytes(), **options)
    return client.Client(found, "tests")


async def watch(kube: client.Client, found: list[dict[str, Any]], silence: float = SECONDS) -> None:
    """Add all events of a watch to `found`, until it ends."""
    async with kube.stream("/watch", {}, accept=client.JSON, silence=silence) as batches:
        async for batch in batches:
            found += batch


async def events_of(kube: client.Client, silence: float = SECONDS) -> list[dict[str, Any]]:
    """All events of a watch."""
    found: list[dict[str, Any]] = []
    await watch(kube, found, silence)
    return found


def run(work: Awaitable[None]) -> None:
    """Run a test in time."""

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await work

    asyncio.run(bounded())


def test_pieces_cut_anywhere() -> None:
    """Events are whole, wherever chunks, TLS records and segments begin and end."""
    events = [{"number": number, "text": "ä" * number} for number in range(8)]
    lines = b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)
    chunks = [chunk(lines[at : at + 7]) for at in range(0, len(lines), 7)]
    answer = CHUNKED + b"".join(chunks) + b"0\r\n\r\n"

    async def behave(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.next_request(reader)
        for number in range(len(answer)):
            writer.write(answer[number : number + 1])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async def body() -> None:
        async with serving(behave) as server, connecting(server) as kube:
            assert await events_of(kube) == events

    run(body())


def test_a_compressed_answer() -> None:
    """Answers may be compressed, and lists of many Nodes are; watches are not asked to be."""
    found = {"items": ["node"] * 1000}
    packed = gzip.compress(json.dumps(found).encode())

    async def behave(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.next_request(reader)
        writer.write(sized(packed, OK + b"content-encoding: gzip\r\n"))
        await server.next_request(reader)
        writer.write(CHUNKED + chunk(b"{}\n") + b"0\r\n\r\n")
        await reader.read()

    async def body() -> None:
        async with serving(behave) as server, connecting(server) as kube:
            assert await kube.get("/list") == found
            assert await events_of(kube) == [{}]
        assert [b"gzip" in head for head in server.asked] == [True, False]

    run(body())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sized(b"{", OK + b"Content-Encoding: gzip\r\n"), "no gzip"),
        (sized(b"[]"), "no JSON object"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal status line"),
        (OK + b"Content-Length: 9\r\n\r\n{", "without sending complete message body"),
        (b"", "disconnected without sending a response"),
    ],
)
def test_answers_that_are_none(answer: bytes, reason: str) -> None:
    """A server whose answer is damaged, or ends too early, counts as not available."""

    async def body() -> None:
        async with serving(answering(answer)) as server, connecting(server) as kube:
            with pytest.raises(errors.ApiUnavailable, match=reason):
                await kube.get("/")

    run(body())


def test_a_watch_that_is_cut_off() -> None:
    """A watch whose connection ends in the middle has given all events until then."""
    answer = CHUNKED + chunk(b'{"number": 1}\n') + chunk(b'{"number": ')

    async def body() -> None:
        found: list[dict[str, Any]] = []
        async with serving(answering(answer)) as server, connecting(server) as kube:
            with pytest.raises(errors.ApiUnavailable, match="without sending complete message"):
                await watch(kube, found)
        assert found == [{"number": 1}]

    run(body())


def test_what_a_refusal_says() -> None:
    """A refusal has its status, the server's words, and when to come back."""
    said = json.dumps({"message": "too many requests"}).encode()
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n"

    async def body() -> None:
        async with serving(answering(sized(said, head))) as server, connecting(server) as kube:
            with pytest.raises(errors.ApiUnavailable, match=r"GET /: too many.*429") as found:
                await kube.get("/")
            assert (found.value.status, found.value.retry_after) == (429, 7)

    run(body())


def test_a_connection_is_used_again() -> None:
    """The next request goes over the same connection, or a new one if the server has closed it."""

    async def body() -> None:
        behave = answering(sized(b"{}"), sized(b"{}"))
        async with serving(behave) as server, connecting(server) as kube:
            for _ in range(2):
                await kube.get("/")
            assert server.connections == 1
            await server.ended.wait()
            await kube.get("/")
            assert server.connections == 2

    run(body())


def test_a_watch_without_a_word() -> None:
    """A server that accepts a watch and then says nothing is given up after the given silence."""

    async def behave(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.next_request(reader)
        writer.write(CHUNKED)
        await reader.read()

    async def body() -> None:
        async with serving(behave) as server, connecting(server) as kube:
            with pytest.raises(errors.Silent, match=f"nothing has come for {BRIEF} s"):
                await events_of(kube, BRIEF)
            assert not kube.works.is_set()

    run(body())


def test_certificates_that_are_replaced(tmp_path: Path) -> None:
    """Other certificates are for new connections: a watch lasts, and no connection stays behind.

    However many requests are the first to see them.
    """
    trusted, release = tmp_path / "ca.crt", asyncio.Event()
    trusted.write_bytes(AUTHORITY.cert_pem.bytes())
    left: set[asyncio.StreamWriter] = set()
    gone = Notice()

    async def behave(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not head.startswith(b"GET /watch"):
                    writer.write(sized(b"{}"))
                    continue
                writer.write(CHUNKED + chunk(b"{}\n"))
                await release.wait()
                writer.write(chunk(b"{}\n") + b"0\r\n\r\n")
        finally:
            left.remove(writer)
            gone()

    async def body() -> None:
        async with serving(behave) as server:
            found = access.Access(f"https://127.0.0.1:{server.port}", authority=trusted)
            async with client.Client(found, "tests") as kube:
                opened = kube.stream("/watch", {}, accept=client.JSON, silence=SECONDS)
                async with opened as batches:
                    assert await anext(batches) == [{}]
                    trusted.write_bytes(2 * trusted.read_bytes())
                    await asyncio.gather(kube.get("/"), kube.get("/"))
                    assert len(left) == 3
                    release.set()
                    assert [batch async for batch in batches] == [[{}]]
                await gone.until(lambda: len(left) == 2, "the first connection to end")
            await gone.until(lambda: not left, "all to end")

    run(body())


def test_a_server_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never says who it is is given up in time."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", BRIEF)

    async def behave(_: Server, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()

    async def body() -> None:
        async with serving(behave, tls=False) as server, connecting(server) as kube:
            with pytest.raises(errors.ApiUnavailable, match="ConnectTimeout"):
                await kube.get("/")

    run(body())


def test_the_servers_name() -> None:
    """A server has to have the name that the kubeconfig gives it, or its address."""

    async def body() -> None:
        async with serving(answering(sized(b"{}")), NAME) as server:
            async with connecting(server, server_name=NAME) as kube:
                assert await kube.get("/") == {}
            async with connecting(server) as kube:
                with pytest.raises(errors.ApiUnavailable, match="certificate is not valid for"):
                    await kube.get("/")

    run(body())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A proxy that the kubeconfig names is asked for the way, and is told who we are to it."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))  # whom the host trusts

    async def body() -> None:
        async def forward(
            proxy: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await proxy.next_request(reader)
            there, further = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, further))
                tasks.create_task(_copy(there, writer))

        async with (
            serving(answering(sized(b"{}"), sized(b"{}"))) as server,
            serving(forward, tls=scheme == "https") as proxy,
        ):
            url = f"{scheme}://me:s%40me@127.0.0.1:{proxy.port}"
            async with connecting(server, proxy=url) as kube:
                assert await kube.get("/") == {}
                assert await kube.get("/") == {}
        (head,) = proxy.asked
        assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
        assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:s@me") in head

    run(body())


def test_a_proxy_that_refuses() -> None:
    """A proxy that does not let us through counts as a server that is not available."""

    async def body() -> None:
        refusal = sized(b"", b"HTTP/1.1 403 Not for you\r\n")
        async with (
            serving(answering(refusal), tls=False) as proxy,
            connecting(proxy, proxy=f"http://127.0.0.1:{proxy.port}") as kube,
        ):
            with pytest.raises(errors.ApiUnavailable, match="403 Not for you"):
                await kube.get("/")

    run(body())


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
    writer.close()
