# SPDX-License-Identifier: Apache-2.0
"""A wire between a client and a server on loopback, that counts bytes and can be cut or frozen.

It listens on loopback, or on a socket that the caller made elsewhere, such as in another network
namespace, where the server cannot be reached otherwise. Where it is the server that is elsewhere,
the caller says how to connect to it. It runs in a thread of its own, so that
asynchronous and other tests can use it alike.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any

PIECE = 1 << 16  # bytes


class Relay:
    """A running relay to `port` of loopback, as a context manager.

    `received`: bytes that the server has sent to clients; `sent`: those of the other direction.
    `connections`: how many were made so far.
    """

    def __init__(
        self,
        port: int,
        listener: socket.socket | None = None,
        connect: Callable[[tuple[str, int]], socket.socket] = socket.create_connection,
    ) -> None:
        self._target = ("127.0.0.1", port)
        self._connect = connect
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = self.sent = self.connections = 0
        self._refuses = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._open: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._flowing.set()
        self._call(self._serve())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections and stop."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Close all connections at once; new ones are accepted."""
        self._call(self._cut())

    def refuse(self) -> None:
        """Close all connections, and each new one at once: a server that is away."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        """End `refuse`."""
        self._refuses = False

    def freeze(self) -> None:
        """Carry nothing any more, but keep all connections: what a dead machine looks like."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw(self) -> None:
        """End `freeze`."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._carry, sock=self._listener)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        writers = [writer]
        try:
            # On loopback a connection is made, or refused, at once.
            there, further = await asyncio.open_connection(sock=self._connect(self._target))
            writers.append(further)
            await _first_to_end(
                self._copy(reader, further, "sent"), self._copy(there, writer, "received")
            )
        except (OSError, asyncio.CancelledError):
            pass  # the server is away, or the wire was cut: the client sees its connection closed
        finally:
            self._open.discard(task)
            for each in writers:
                each.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: str
    ) -> None:
        while piece := await reader.read(PIECE):
            await self._flowing.wait()
            setattr(self, counter, getattr(self, counter) + len(piece))
            writer.write(piece)
            await writer.drain()


async def _first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
