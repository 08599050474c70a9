# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server: JSON in, JSON out, each with a deadline.

The token is read from its file at each request, and requests go over new connections once a
certificate is another one, so that rotation needs no restart; a watch that is open stays. Proxies
are used only if the kubeconfig names one.
Every failure leaves as one of `errors`.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

import httpcore2

from linen.kube import errors
from linen.kube.transport import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from types import TracebackType

    from linen.kube.access import Access

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

CONNECT_SECONDS = 5.0  # TCP and TLS
ANSWER_SECONDS = 15.0  # between two pieces of an answer
IDLE_SECONDS = 5.0  # that a connection is kept for the next request
LONGEST_LINE = 4 << 20  # bytes of one event; etcd stores 1.5 MB per object by default
LONGEST_RETRY_AFTER = 60.0  # seconds; what a server can ask for
EXCERPT = 300  # characters of a server's text that are worth quoting

# What can go wrong on the way to an answer, and with it.
_FAILURES = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.TimeoutException,
)


class _Connections:
    """Those that are made with the same certificates. `users`: how many requests they serve."""

    def __init__(self, access: Access, state: bytes) -> None:
        self.state = state
        self.users = 0
        self.pool = httpcore2.AsyncConnectionPool(
            ssl_context=access.tls_context(),
            proxy=_proxy(access.proxy) if access.proxy else None,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=Backend(),
        )


class Client:
    """Connections to one API server; an asynchronous context manager.

    `user_agent` is what the API server's audit log shows.
    `works`: set by a request that succeeds, and no longer once one has got no answer.
    """

    def __init__(self, access: Access, user_agent: str) -> None:
        self._access = access
        self._user_agent = user_agent
        self._connections: list[_Connections] = []  # the last for new requests
        self.works = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Itself: connections are made when they are needed."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        closed, self._connections = self._connections, []
        for connections in closed:
            await connections.pool.aclose()

    async def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, accept: str = JSON
    ) -> dict[str, Any]:
        """The object at `path`. Raises `KubernetesError`, as `post` and `patch` do."""
        return await self._send("GET", path, params=params, headers={"Accept": accept})

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object that the API server has made of `body`."""
        return await self._send("POST", path, body=body, headers={"Content-Type": JSON})

    async def patch(self, path: str, patch: dict[str, Any], kind: str) -> dict[str, Any]:
        """The patched object. `kind`: `MERGE_PATCH` or `STRATEGIC_PATCH`."""
        return await self._send("PATCH", path, body=patch, headers={"Content-Type": kind})

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str | int], *, accept: str, silence: float
    ) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
        """Objects as the server sends them, line by line, in batches of what came at once.

        Ends when the server ends it. `silence`: seconds without a byte after which the server is
        taken for gone (`Silent`).
        """
        url, headers = self._url_of(path, params), self._headers({"Accept": accept})
        extensions = self._extensions(silence)
        try:
            async with (
                self._pool() as http,
                http.stream("GET", url, headers=headers, extensions=extensions) as answer,
            ):
                if not _is_success(answer):
                    await answer.aread()
                    raise _refusal(f"GET {path}", answer)
                self.works.set()
                async with aclosing(_batches(answer)) as batches:
                    yield batches
        except httpcore2.ReadTimeout as error:
            self.works.clear()
            said = f"API server {self._access.url}: nothing has come for {silence:g} s"
            raise errors.Silent(said) from error
        except _FAILURES as error:
            raise self._unavailable(error) from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        params: Mapping[str, str | int] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            async with self._pool() as http:
                answer = await http.request(
                    method,
                    self._url_of(path, params),
                    headers=self._headers({"Accept-Encoding": "gzip", **headers}),
                    content=None if body is None else json.dumps(body).encode(),
                    extensions=self._extensions(ANSWER_SECONDS),
                )
        except _FAILURES as error:
            raise self._unavailable(error) from error
        if not _is_success(answer):
            raise _refusal(f"{method} {path}", answer)
        self.works.set()
        return _parsed(_content(answer))

    @asynccontextmanager
    async def _pool(self) -> AsyncIterator[httpcore2.AsyncConnectionPool]:
        """What to send a request with, made with the certificates as they are now.

        Those that were made with others stay as long as they serve a request.
        """
        state = self._access.files_state()
        if not self._connections or self._connections[-1].state != state:
            self._connections.append(_Connections(self._access, state))
        used = self._connections[-1]
        used.users += 1
        try:
            await self._close_unused()
            yield used.pool
        finally:
            used.users -= 1
            await self._close_unused()

    async def _close_unused(self) -> None:
        """Close the connections of earlier certificates that serve no request any more."""
        earlier = self._connections[:-1]
        unused = [connections for connections in earlier if not connections.users]
        self._connections = [one for one in self._connections if one not in unused]
        for connections in unused:
            await connections.pool.aclose()

    def _url_of(self, path: str, params: Mapping[str, str | int] | None) -> str:
        query = f"?{urlencode(params)}" if params else ""
        return f"{self._access.url}{quote(path)}{query}"

    def _headers(self, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        sent = {
            "Host": urlsplit(self._access.url).netloc.rpartition("@")[2],
            "User-Agent": self._user_agent,
            **headers,
        }
        if token := self._access.read_token():
            sent["Authorization"] = f"Bearer {token}"
        return [(name.encode(), value.encode()) for name, value in sent.items()]

    def _extensions(self, silence: float) -> dict[str, Any]:
        seconds = dict.fromkeys(("connect", "write", "pool"), CONNECT_SECONDS)
        extensions: dict[str, Any] = {"timeout": {**seconds, "read": silence}}
        if self._access.server_name:
            extensions["sni_hostname"] = self._access.server_name
        return extensions

    def _unavailable(self, error: Exception) -> errors.ApiUnavailable:
        self.works.clear()
        reason = str(error) or type(error).__name__
        return errors.ApiUnavailable(f"API server {self._access.url}: {reason}")


def _proxy(url: str) -> httpcore2.Proxy:
    """An HTTP proxy by its URL, which may say who we are to it."""
    parts = urlsplit(url)
    if parts.username is None:
        return httpcore2.Proxy(url)
    name, password = (unquote(text or "").encode() for text in (parts.username, parts.password))
    return httpcore2.Proxy(url, auth=(name, password))


async def _batches(answer: httpcore2.Response) -> AsyncGenerator[list[dict[str, Any]]]:
    rest = b""
    async with aclosing(answer.aiter_stream()) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise errors.ApiUnavailable(f"an event is longer than {LONGEST_LINE >> 20} MiB")
            if lines:
                yield [_parsed(line) for line in lines]


def _is_success(answer: httpcore2.Response) -> bool:
    return 200 <= answer.status < 300


def _content(answer: httpcore2.Response) -> bytes:
    if _header(answer, b"content-encoding") != b"gzip":
        return answer.content
    try:
        return zlib.decompress(answer.content, wbits=zlib.MAX_WBITS | 16)  # 16: gzip's format
    except zlib.error as error:
        raise errors.ApiUnavailable(f"the API server's answer is no gzip: {error}") from error


def _header(answer: httpcore2.Response, name: bytes) -> bytes:
    """A header of an answer by its name in small letters; empty if it has none."""
    return next((value for key, value in answer.headers if key.lower() == name), b"")


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data.decode())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.ApiUnavailable(f"the API server sends no JSON object: {_excerpt(data)}")
    return found


def _refusal(where: str, answer: httpcore2.Response) -> errors.KubernetesError:
    """The error of an answer that is no success (api-conventions.md, "Response Status Kind")."""
    content = _content(answer)
    try:
        said = _excerpt(str(json.loads(content)["message"]).encode())
    except (ValueError, KeyError, TypeError, RecursionError):
        said = _excerpt(content) or answer.extensions["reason_phrase"].decode(errors="replace")
    return refusal(answer.status, f"{where}: {said}", _retry_after(answer))


def refusal(status: int, text: str, retry_after: float = 0) -> errors.KubernetesError:
    """The error that an HTTP status, or the code of a Status object, means."""
    message = f"{text} (status {status})"
    if status == 410:
        return errors.Expired(message, status)
    if 400 <= status < 500 and status not in {408, 429}:
        return errors.ApiRefused(message, status)
    return errors.ApiUnavailable(message, status, retry_after=retry_after)


def _retry_after(answer: httpcore2.Response) -> float:
    text = _header(answer, b"retry-after")
    return min(float(text), LONGEST_RETRY_AFTER) if text.isdigit() else 0


def _excerpt(data: bytes) -> str:
    return " ".join(data[: EXCERPT * 4].decode(errors="replace").split())[:EXCERPT]
