# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server: JSON in, JSON out, each with a deadline.

The token is read from its file at each request, and connections are made anew once a certificate
was replaced, so that rotation needs no restart. Proxies are used only if the kubeconfig names one.
Every failure leaves as one of `errors`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx2

from linen.kube import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from types import TracebackType

    from linen.kube.access import Access

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

CONNECT_SECONDS = 5.0  # TCP and TLS
ANSWER_SECONDS = 15.0  # between two pieces of an answer
LONGEST_LINE = 4 << 20  # bytes of one event; etcd stores 1.5 MB per object by default
LONGEST_RETRY_AFTER = 60.0  # seconds; what a server can ask for
EXCERPT = 300  # characters of a server's text that are worth quoting

# A peer that vanished without a word is noticed within a minute, also where nothing is sent.
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class Client:
    """Connections to one API server; an asynchronous context manager.

    `user_agent` is what the API server's audit log shows.
    `works`: set by a request that succeeds, and no longer once one has got no answer.
    """

    def __init__(self, access: Access, user_agent: str) -> None:
        self._access = access
        self._user_agent = user_agent
        self._http: httpx2.AsyncClient | None = None
        self._files_state: tuple[tuple[int, int], ...] = ()
        self.works = asyncio.Event()
        # It logs a line for each request, while a daemon at rest is silent.
        logging.getLogger("httpx2").setLevel(logging.WARNING)

    @property
    def url(self) -> str:
        """Where the API server is."""
        return self._access.url

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
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, accept: str = JSON
    ) -> dict[str, Any]:
        """The object at `path`."""
        return await self._send("GET", path, params=params, headers={"Accept": accept})

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What became of `body`."""
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
        taken for gone.
        """
        http = await self._connections()
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=silence)
        request = http.build_request(
            "GET",
            path,
            params=dict(params),
            headers={"Accept": accept, **self._authorization()},
            extensions=self._extensions(timeout),
        )
        try:
            answer = await http.send(request, stream=True)
            try:
                if not answer.is_success:
                    await answer.aread()
                    raise _refusal(answer)
                self.works.set()
                async with aclosing(_batches(answer)) as batches:
                    yield batches
            finally:
                await answer.aclose()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
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
        http = await self._connections()
        try:
            answer = await http.request(
                method,
                path,
                params=dict(params or {}),
                content=None if body is None else json.dumps(body).encode(),
                headers={**headers, **self._authorization()},
                extensions=self._extensions(httpx2.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS)),
            )
        except httpx2.HTTPError as error:
            raise self._unavailable(error) from error
        if not answer.is_success:
            raise _refusal(answer)
        self.works.set()
        return _parsed(answer.content)

    async def _connections(self) -> httpx2.AsyncClient:
        state = self._access.files_state()
        if self._http is None or state != self._files_state:
            await self.close()
            self._files_state = state
            transport = httpx2.AsyncHTTPTransport(
                verify=self._access.tls_context(),
                trust_env=False,
                proxy=self._access.proxy or None,
                socket_options=_KEEP_ALIVE,
            )
            self._http = httpx2.AsyncClient(
                base_url=self._access.url,
                transport=transport,
                trust_env=False,
                headers={"User-Agent": self._user_agent},
            )
        return self._http

    def _authorization(self) -> dict[str, str]:
        token = self._access.read_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _extensions(self, timeout: httpx2.Timeout) -> dict[str, Any]:
        extensions: dict[str, Any] = {"timeout": timeout.as_dict()}
        if self._access.server_name:
            extensions["sni_hostname"] = self._access.server_name
        return extensions

    def _unavailable(self, error: Exception) -> errors.ApiUnavailable:
        self.works.clear()
        reason = str(error) or type(error).__name__
        return errors.ApiUnavailable(f"API server {self._access.url}: {reason}")


async def _batches(answer: httpx2.Response) -> AsyncGenerator[list[dict[str, Any]]]:
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise errors.ApiUnavailable(f"an event is longer than {LONGEST_LINE >> 20} MiB")
        if lines:
            yield [_parsed(line) for line in lines]


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise errors.ApiUnavailable(f"the API server sends no JSON object: {_excerpt(data)}")
    return found


def _refusal(answer: httpx2.Response) -> errors.KubernetesError:
    """The error of an answer that is no success (api-conventions.md, "Response Status Kind")."""
    where = f"{answer.request.method} {answer.request.url.path}"
    try:
        said = _excerpt(str(json.loads(answer.content)["message"]).encode())
    except (ValueError, KeyError, TypeError, RecursionError):
        said = _excerpt(answer.content) or answer.reason_phrase
    return refusal(answer.status_code, f"{where}: {said}", _retry_after(answer))


def refusal(status: int, text: str, retry_after: float = 0) -> errors.KubernetesError:
    """The error that an HTTP status, or the code of a Status object, means."""
    message = f"{text} (status {status})"
    if status == 410:
        return errors.Expired(message, status)
    if 400 <= status < 500 and status not in {408, 429}:
        return errors.ApiRefused(message, status)
    return errors.ApiUnavailable(message, status, retry_after=retry_after)


def _retry_after(answer: httpx2.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), LONGEST_RETRY_AFTER) if text.isdecimal() else 0


def _excerpt(data: bytes) -> str:
    return " ".join(data[: EXCERPT * 4].decode(errors="replace").split())[:EXCERPT]
