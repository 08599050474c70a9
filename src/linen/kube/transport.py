# SPDX-License-Identifier: Apache-2.0
"""What the HTTP library connects and reads with: asyncio's own streams.

Its own way, through anyio, enters and leaves a scope for each piece that comes, and has the kernel
watch the socket and then no longer. A request does not mind, but a watch of 5,000 Nodes has a piece
for each heartbeat of each of them (docs/design/kubernetes-client.md, "What a heartbeat costs").
"""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpcore2

from linen import streams

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

NEXT_ADDRESS = 0.25  # seconds until the next address of a name is tried as well (RFC 8305)

# A peer that vanished without a word is noticed within a minute, also where nothing is sent.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Backend(httpcore2.AsyncNetworkBackend):
    """Makes connections that are noticed when they are dead."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (as in the class that this is one of)
        local_address: str | None = None,  # noqa: ARG002  (nobody sets it)
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> Connection:
        """A connection. Raises `ConnectTimeout` and `ConnectError`."""
        with _translated(httpcore2.ConnectTimeout, httpcore2.ConnectError):
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(
                    host, port, limit=streams.PIECE, happy_eyeballs_delay=NEXT_ADDRESS
                )
            for option in _KEEP_ALIVE:
                writer.get_extra_info("socket").setsockopt(*option)
        return Connection(reader, writer)


class Connection(httpcore2.AsyncNetworkStream):
    """One connection, with or without TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Self:
        """This connection, encrypted from now on. Raises `ConnectTimeout` and `ConnectError`."""
        try:
            with _translated(httpcore2.ConnectTimeout, httpcore2.ConnectError):
                async with asyncio.timeout(timeout):
                    await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """What has come, nothing at the end. Raises `ReadTimeout` and `ReadError`."""
        deadline = None if timeout is None else self._loop.call_later(timeout, self._give_up)
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error
        finally:
            if deadline is not None:
                deadline.cancel()

    def _give_up(self) -> None:
        self._reader.set_exception(httpcore2.ReadTimeout())

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send all of it. Raises `WriteTimeout` and `WriteError`."""
        with _translated(httpcore2.WriteTimeout, httpcore2.WriteError):
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()

    async def aclose(self) -> None:
        """Close it at once: who closes it waits for nothing that the peer may still say."""
        self._writer.transport.abort()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401  (what there is by that name)
        """`is_readable`: whether a connection at rest is of no more use: the peer has ended it."""
        if info == "is_readable":
            return self._writer.is_closing() or self._reader.at_eof() or self._has_news()
        return self._writer.get_extra_info(info)

    def _has_news(self) -> bool:
        """Whether something has come that asyncio has had no time for yet."""
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))


@contextmanager
def _translated(timeout: type[Exception], failure: type[Exception]) -> Iterator[None]:
    """Raise the library's exceptions where asyncio raises others."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(*error.args) from error
    except OSError as error:
        raise failure(str(error)) from error
