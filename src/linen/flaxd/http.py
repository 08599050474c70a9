# SPDX-License-Identifier: Apache-2.0
"""The daemon over HTTP, to look at: health, readiness, metrics, state. Nothing can be changed.

A server of asyncio's with just as much of HTTP/1 as GET takes: one request a connection, in
bounded bytes and time. It shares the daemon's loop, so an answer from /healthz also proves that
the loop turns, and a second server with its threads would cost memory in every node.
Where pods reach it, one that holds connections takes no more than its share, and none of those that
are left for the node itself: a kubelet that got no answer would end the daemon.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import re
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from linen.flaxd import metrics
from linen.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linen.light.json import Json

log = logging.getLogger("flaxd.http")

LARGEST_REQUEST = 16 << 10  # bytes of the request line and all headers
PATIENCE = 5.0  # seconds to send a request, and again to take the answer
# Connections at a time: from this node itself, from all others, and from each of their addresses.
MOST_LOCAL, MOST_REMOTE, MOST_OF_ONE = 8, 24, 8

REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]")  # RFC 9112, 3
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
LOCAL = "this node"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and what is shown."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT


@dataclass(frozen=True, slots=True)
class Views:
    """What there is to look at.

    `stuck`, `not_ready`: why the daemon does no work any more, and why the overlay does not work
    (yet); nothing where all is well. `state`: what json.dumps takes.
    """

    stuck: Callable[[], Sequence[str]]
    not_ready: Callable[[], Sequence[str]]
    metrics: Callable[[], bytes]
    state: Callable[[], Json]

    def pages(self) -> dict[str, Callable[[], Answer]]:
        """The pages by path."""
        return {
            "/healthz": lambda: _well_unless(self.stuck()),
            "/readyz": lambda: _well_unless(self.not_ready()),
            "/metrics": lambda: Answer(HTTPStatus.OK, self.metrics(), metrics.CONTENT_TYPE),
            "/state": lambda: Answer(HTTPStatus.OK, _document(self.state()), JSON),
        }


def _well_unless(reasons: Sequence[str]) -> Answer:
    if not reasons:
        return Answer(HTTPStatus.OK, b"ok\n")
    text = "".join(f"{' '.join(reason.split())}\n" for reason in reasons)
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, text.encode())


def _document(state: Json) -> bytes:
    return json.dumps(state, indent=2).encode() + b"\n"


class Server:
    """Shows `views` at the address `listen` (host, port), once `start` has returned."""

    def __init__(self, listen: tuple[str, int], views: Views) -> None:
        self._listen = listen
        self._pages = views.pages()
        self._server: asyncio.Server | None = None
        self._connections: Counter[str] = Counter()  # by client

    async def start(self) -> tuple[str, int]:
        """Begin to serve; the address, with the port that was found where 0 was asked for.

        Raises `HostError` where the address cannot be listened on.
        """
        host, port = self._listen
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=LARGEST_REQUEST
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise HostError(
                f"cannot listen on {shown(host, port)}: {reason}",
                "choose another address with --listen",
            ) from error
        found: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return found

    async def close(self) -> None:
        """Stop to serve; connections that are open are dropped with the loop."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        client = _client(writer)
        has_room = self._has_room(client)
        self._connections[client] += 1
        try:
            if has_room:
                await _converse(reader, writer, self._pages)
        except OSError as error:  # a timeout, a lost connection, or ENOTCONN of one just reset
            log.debug("a client went away: %r", error)
        finally:
            self._connections[client] -= 1
            if not self._connections[client]:
                del self._connections[client]
            # Whoever has not taken its answer by now keeps no memory here.
            writer.transport.abort()

    def _has_room(self, client: str) -> bool:
        """Whether this client is given one more connection."""
        taken = self._connections[client]
        if client == LOCAL:
            return taken < MOST_LOCAL
        remote = self._connections.total() - self._connections[LOCAL]
        return taken < MOST_OF_ONE and remote < MOST_REMOTE


def _client(writer: asyncio.StreamWriter) -> str:
    """Whom a connection counts for: an address, or all by which this node speaks to itself."""
    address: str = writer.get_extra_info("peername")[0]
    is_own = address == writer.get_extra_info("sockname")[0]
    return LOCAL if is_own or ipaddress.ip_address(address).is_loopback else address


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    pages: Mapping[str, Callable[[], Answer]],
) -> None:
    """Read a request and answer it. Raises `OSError`, `TimeoutError` among them."""
    async with asyncio.timeout(PATIENCE):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer, with_body = _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), True
        except asyncio.IncompleteReadError:
            return
        else:
            answer, with_body = _answer(head, pages)
    async with asyncio.timeout(PATIENCE):
        writer.write(_rendered(answer, with_body=with_body))
        await writer.drain()
        writer.write_eof()
        # Until the client hangs up: to close with bytes unread would take the answer from it.
        while await reader.read(LARGEST_REQUEST):
            pass


def _answer(head: bytes, pages: Mapping[str, Callable[[], Answer]]) -> tuple[Answer, bool]:
    """What to answer to the request with this head, and whether with its body."""
    request = REQUEST_LINE.fullmatch(head.partition(b"\r\n")[0])
    if request is None:
        return _refusal(HTTPStatus.BAD_REQUEST), True
    method, target = (part.decode("ascii") for part in request.groups())
    page = pages.get(target.partition("?")[0])
    if page is None:
        return Answer(HTTPStatus.NOT_FOUND, f"there are {', '.join(pages)}\n".encode()), True
    if method not in {"GET", "HEAD"}:
        return _refusal(HTTPStatus.METHOD_NOT_ALLOWED), True
    try:
        return page(), method == "GET"
    except Exception:  # a fault in what is shown must not end what is done
        log.exception("cannot show %s", target)
        return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR), True


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(status, f"{status.phrase}\n".encode())


def _rendered(answer: Answer, *, with_body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + answer.body if with_body else head


def shown(host: str, port: int) -> str:
    """An address as one writes it in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
