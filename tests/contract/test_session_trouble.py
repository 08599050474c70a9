# SPDX-License-Identifier: Apache-2.0
"""The daemon's OVSDB session where the server is away, restarted, stopped, or none at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from linen.core import errors
from support.host import PATIENCE
from support.sessions import bridges, connected, impostor, insert_bridge, session

if TYPE_CHECKING:
    from pathlib import Path

    from contract.conftest import OvsdbServer


def test_restart_of_the_server(ovsdb_server: OvsdbServer) -> None:
    """A restarted server is found again, and the replica is what it has now."""

    async def scenario() -> None:
        async with connected(ovsdb_server.socket) as (watching, notice):
            await watching.transact(insert_bridge("br0"))
            lost = asyncio.create_task(watching.transact(_wait_forever(), seconds=30))
            await watching.transact([])
            ovsdb_server.kill()
            with pytest.raises(errors.Unavailable, match="the server hung up"):
                await lost
            await notice.until(lambda: not watching.connected, "the loss")
            with pytest.raises(errors.Unavailable, match=f"{ovsdb_server.socket} is not avail"):
                await watching.transact([])
            assert bridges(watching) == {"br0"}  # as it was last known

            remove_bridges(ovsdb_server.folder / "conf.db")
            ovsdb_server.start()
            await notice.until(lambda: watching.connected, "the new server")
            assert not bridges(watching)

    asyncio.run(scenario())


def remove_bridges(database: Path) -> None:
    """Change the database's file, while no server has it open."""
    row = {"bridges": ["set", []]}
    change = ["Open_vSwitch", {"op": "update", "table": "Open_vSwitch", "where": [], "row": row}]
    command = ["ovsdb-tool", "transact", str(database), json.dumps(change)]
    done = subprocess.run(command, check=True, capture_output=True)
    assert json.loads(done.stdout) == [{"count": 1}]


def _wait_forever() -> list[Any]:
    wait = {"op": "wait", "table": "Bridge", "where": [], "columns": ["name"], "timeout": 60_000}
    return [{**wait, "until": "==", "rows": [{"name": "nobody"}]}]


def test_stopped_server(ovsdb_server: OvsdbServer) -> None:
    """A server that is silent is given up, callers never hang, and it is found when it goes on."""

    async def scenario() -> None:
        async with connected(ovsdb_server.socket, silence=0.5) as (watching, notice):
            ovsdb_server.signal(signal.SIGSTOP)
            with pytest.raises(errors.Unavailable, match="no answer in time"):
                await watching.transact([], seconds=0.1)
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(errors.Unavailable, match="no answer in time"):
                    await watching.transact([], seconds=10 * PATIENCE)
            assert not watching.connected
            ovsdb_server.signal(signal.SIGCONT)
            await notice.until(lambda: watching.connected, "the server that goes on")
            await watching.transact(insert_bridge("br0"))

    asyncio.run(scenario())


def test_silent_but_living_server_is_kept(ovsdb: str) -> None:
    """A server that only answers the probes is not given up."""

    async def scenario() -> None:
        async with connected(ovsdb, silence=1) as (watching, notice):
            before = notice.calls
            with contextlib.suppress(AssertionError):  # given up, it would be after two seconds
                await notice.until(lambda: notice.calls > before, "nothing", seconds=3)
            assert watching.connected
            assert notice.calls == before

    asyncio.run(scenario())


def test_server_comes_late(short_folder: Path, ovsdb_server: OvsdbServer) -> None:
    """A session waits for its server, says why meanwhile, and is there when the server is."""
    path = short_folder / "late.sock"

    async def scenario() -> None:
        async with session(path) as (watching, notice):
            with pytest.raises(errors.Unavailable, match="not connected yet"):
                await watching.transact([])
            await notice.until(lambda: "No such file" in watching.problem, "a reason")
            path.symlink_to(ovsdb_server.socket)
            await notice.until(lambda: watching.connected, "the connection")

    asyncio.run(scenario())


def test_column_that_the_server_lacks(ovsdb: str) -> None:
    """A column that this server's schema lacks is named in the session's problem."""

    async def scenario() -> None:
        async with session(ovsdb, {"Bridge": {"name", "colour"}}) as (watching, notice):
            await notice.until(lambda: "table Bridge lacks colour" in watching.problem, "the word")
            assert not watching.connected

    asyncio.run(scenario())


def test_end_of_the_session_ends_all_waiting(ovsdb: str) -> None:
    """Who still waits for results when the session is cancelled gets an error at once."""

    async def scenario() -> None:
        async with connected(ovsdb) as (watching, _):
            waiting = asyncio.create_task(watching.transact(_wait_forever(), seconds=60))
            await watching.transact([])
        with pytest.raises(errors.Unavailable, match="the session was ended"):
            await waiting
        assert not watching.connected

    asyncio.run(scenario())


SCHEMA_REPLY = json.dumps(
    {
        "id": 1,
        "error": None,
        "result": {
            "tables": {
                "Bridge": {
                    "columns": {
                        "name": {"type": "string"},
                        "external_ids": {"type": {"key": "string", "value": "string"}},
                    }
                }
            }
        },
    }
).encode()
FIRST_ROWS = b'{"id":2,"result":{},"error":null}'
UPDATE = b'{"id":null,"method":"update2","params":["replica",%s]}'


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "hung up"),
        (b"[1] {}", "no OVSDB server"),
        (b"\xff\xfe}", "no OVSDB server"),
        (b"HTTP/1.1 400 Bad Request", "no answer in time"),
        (b'{"id":1,"result":null}', "no OVSDB server"),
        (b'{"id":1,"result":7,"error":null}', "no OVSDB server"),
        (b'{"id":1,"result":null,"error":"unknown database"}', "unknown database"),
        (SCHEMA_REPLY + b'{"id":2,"result":[],"error":null}', "no OVSDB server"),
        (SCHEMA_REPLY + b'{"id":2,"error":"unknown method"}', "no answer in time"),
        (SCHEMA_REPLY + FIRST_ROWS + UPDATE % b"[]", "no OVSDB server"),
        (SCHEMA_REPLY + FIRST_ROWS + UPDATE % b'{"Bridge":{"x":{"delete":null}}}', "no OVSDB"),
        (SCHEMA_REPLY + FIRST_ROWS + UPDATE % b'{"Unasked":{}}' + b"{}", "hung up"),
    ],
)
def test_server_that_is_none(ovsdb_server: OvsdbServer, answer: bytes, problem: str) -> None:
    """Whatever answers in the server's place is left, and the real server is found after it."""
    path = ovsdb_server.folder / "false.sock"

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if problem == "hung up":
            writer.close()

    async def scenario() -> None:
        columns = {"Bridge": {"name", "external_ids"}}
        async with session(path, columns, silence=0.1) as (watching, notice):
            async with impostor(path, reply):
                await notice.until(lambda: problem in watching.problem, problem)
                with pytest.raises(errors.Unavailable, match=str(path)):
                    await watching.transact([], seconds=0.1)
            path.unlink(missing_ok=True)
            path.symlink_to(ovsdb_server.socket)
            await notice.until(lambda: watching.connected, "the real server")

    asyncio.run(scenario())


def test_server_that_always_hangs_up_is_not_hammered(short_folder: Path) -> None:
    """Attempts that fail at once become rare, but not ever rarer."""
    path = short_folder / "db.sock"
    attempts: list[float] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(time.monotonic())
        writer.close()
        if len(attempts) == 13:
            enough.set()

    async def scenario() -> None:
        # The 12 pauses take 2 to 5 s. If each were twice the one before, they would take 80 s.
        async with impostor(path, refuse), session(path), asyncio.timeout(PATIENCE):
            await enough.wait()

    enough = asyncio.Event()
    asyncio.run(scenario())
    assert attempts[-1] - attempts[0] > 2  # seconds


def test_full_backlog(ovsdb_server: OvsdbServer) -> None:
    """Where nobody accepts connections the session goes on trying, and says so."""
    path = ovsdb_server.folder / "full.sock"

    async def scenario() -> None:
        async with session(path) as (watching, notice):
            with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as stack:
                server.bind(str(path))
                server.listen(0)
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(path))
                await notice.until(lambda: "endpoint is not conn" in watching.problem, "a reason")
            path.unlink()
            path.symlink_to(ovsdb_server.socket)
            await notice.until(lambda: watching.connected, "the real server")

    asyncio.run(scenario())


def test_echo_is_answered(short_folder: Path) -> None:
    """The server's own probe is answered, so that it keeps us."""
    path = short_folder / "db.sock"
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def probe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")  # get_schema
        writer.write(b'{"method":"echo","params":["x"],"id":"echo"}')
        answers.put_nowait(await reader.readuntil(b"}"))
        writer.close()

    async def scenario() -> bytes:
        async with impostor(path, probe), session(path), asyncio.timeout(10):
            return await answers.get()

    assert json.loads(asyncio.run(scenario())) == {"id": "echo", "result": ["x"], "error": None}
