# SPDX-License-Identifier: Apache-2.0
"""OVSDB sessions for tests: running ones, what they do most, and false servers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from linen.ovsdb.session import Session
from support.notices import Notice, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BRIDGES = {"Bridge": {"name", "external_ids"}, "Open_vSwitch": {"bridges", "next_cfg"}}


@contextlib.asynccontextmanager
async def session(
    path: str | Path,
    columns: Mapping[str, set[str]] = BRIDGES,
    *,
    lock: str = "",
    silence: float = 5,
) -> AsyncIterator[tuple[Session, Notice]]:
    """A running session, not connected yet."""
    notice = Notice()
    watching = Session(str(path), columns, notice, lock=lock, silence=silence)
    async with running(watching.run()):
        yield watching, notice


@contextlib.asynccontextmanager
async def connected(
    path: str | Path,
    columns: Mapping[str, set[str]] = BRIDGES,
    *,
    lock: str = "",
    silence: float = 5,
) -> AsyncIterator[tuple[Session, Notice]]:
    """A running session that has the rows."""
    async with session(path, columns, lock=lock, silence=silence) as (watching, notice):
        await notice.until(lambda: watching.connected, "a connection")
        yield watching, notice


def insert_bridge(name: str) -> list[Any]:
    """The operations that add an OVS bridge."""
    return [
        {"op": "insert", "table": "Bridge", "row": {"name": name}, "uuid-name": "bridge"},
        {
            "op": "mutate",
            "table": "Open_vSwitch",
            "where": [],
            "mutations": [["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]],
        },
    ]


def bridges(watching: Session) -> set[str]:
    """The names of the OVS bridges in the replica."""
    select = {"op": "select", "table": "Bridge", "where": [], "columns": ["name"]}
    (result,) = watching.replica.answer([select])
    return {row["name"] for row in result["rows"]}


@contextlib.asynccontextmanager
async def impostor(path: Path, serve: Serve) -> AsyncIterator[None]:
    """A server that answers in its own way at the socket `path`, and hangs up at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    async with await asyncio.start_unix_server(accept, path):
        try:
            yield
        finally:
            for writer in writers:
                writer.transport.abort()
