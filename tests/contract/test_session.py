# SPDX-License-Identifier: Apache-2.0
"""The daemon's OVSDB session against the real server: replica, transactions, trouble."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from linen.core import desired, errors, model, neighbours, observed, plan, transaction
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection, TransactionError
from linen.ovsdb.replica import columns_read_by
from linen.ovsdb.session import Session
from support.watching import Notice, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from contract.conftest import OvsdbServer
    from support.host import Host

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

QUESTIONS = observed.questions("br0", "blue", "flaxd")
BRIDGES = {"Bridge": {"name", "external_ids"}, "Open_vSwitch": {"bridges", "next_cfg"}}


@contextlib.asynccontextmanager
async def session(
    path: str | Path, columns: Mapping[str, set[str]] = BRIDGES, *, silence: float = 5
) -> AsyncIterator[tuple[Session, Notice]]:
    """A running session, not connected yet."""
    notice = Notice()
    watching = Session(str(path), columns, notice, silence=silence)
    async with running(watching.run()):
        yield watching, notice


@contextlib.asynccontextmanager
async def connected(
    path: str | Path, columns: Mapping[str, set[str]] = BRIDGES, *, silence: float = 5
) -> AsyncIterator[tuple[Session, Notice]]:
    """A running session that has the rows."""
    async with session(path, columns, silence=silence) as (watching, notice):
        await notice.until(lambda: watching.connected, "a connection")
        yield watching, notice


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


def overlay(*vteps: str) -> model.OverlaySpec:
    options = model.OverlayOptions(vteps=vteps, vni=7, controllers=["tcp:10.9.9.1:6653"])
    return desired.overlay_spec(options, network="blue", maker="flaxd", mtu=1400)


def steps_to(spec: model.OverlaySpec, seen: model.Observed) -> list[Any]:
    return transaction.operations(spec, seen, plan.difference(spec, seen))


def insert_bridge(name: str) -> list[Any]:
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
    select = {"op": "select", "table": "Bridge", "where": [], "columns": ["name"]}
    (result,) = watching.replica.answer([select])
    return {row["name"] for row in result["rows"]}


# --- the replica ---


def test_replica_is_what_ovs_vsctl_lists(ovsdb: str) -> None:
    """Each copied column of each row has the very value that ovs-vsctl prints."""
    nothing = model.Observed(None, [])
    with Connection(ovsdb, Deadline(10)) as connection:
        connection.transact(steps_to(overlay("10.0.0.1", "fd00::1"), nothing))
    columns = columns_read_by(QUESTIONS)

    async def copy() -> dict[str, list[Any]]:
        async with connected(ovsdb, columns) as (watching, _):
            return {
                table: watching.replica.answer(
                    [{"op": "select", "table": table, "where": [], "columns": ["_uuid", *names]}]
                )[0]["rows"]
                for table, names in columns.items()
            }

    copied = asyncio.run(copy())

    for table, names in columns.items():
        command = ["ovs-vsctl", f"--db=unix:{ovsdb}", "--no-wait", "--format=json"]
        command += [f"--columns=_uuid,{','.join(names)}", "list", table]
        listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        rows = [dict(zip(listed["headings"], row, strict=True)) for row in listed["data"]]
        assert rows
        assert sorted(rows, key=lambda row: row["_uuid"]) == sorted(
            copied[table], key=lambda row: row["_uuid"]
        )


def test_core_observes_the_same_through_replica_and_server(ovsdb: str) -> None:
    """What the core learns from the replica is what it learns by asking the server."""

    def by_name(seen: model.Observed) -> model.Observed:
        return model.Observed(seen.bridge, sorted(seen.tunnels, key=lambda one: one.name))

    async def scenario(connection: Connection) -> None:
        async with connected(ovsdb, columns_read_by(QUESTIONS)) as (watching, _):
            for vteps in ["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.3", "fd00::1"], []:
                spec = overlay(*vteps)
                seen = observed.answers(watching.replica.answer(QUESTIONS), "blue")
                await watching.transact(steps_to(spec, seen))

                copied = observed.answers(watching.replica.answer(QUESTIONS), "blue")
                asked = observed.answers(connection.transact(QUESTIONS), "blue")
                assert by_name(copied) == by_name(asked)
                assert len(copied.tunnels) == len(vteps)
                assert not plan.difference(spec, copied)

    with Connection(ovsdb, Deadline(30)) as connection:
        asyncio.run(scenario(connection))


@pytest.mark.parametrize("new_tunnels", [2, neighbours.SEARCH_LIMIT + 1])
def test_core_looks_around_in_the_replica(ovsdb: str, new_tunnels: int) -> None:
    """Rows in the way of new tunnels are found in the replica as on the server."""
    foreign = ["ovs-vsctl", f"--db=unix:{ovsdb}", "--no-wait", "add-br", "other", "--"]
    foreign += ["add-port", "other", "theirs", "--", "set", "Interface", "theirs", "type=vxlan"]
    foreign += ["options={key=7,remote_ip=10.0.0.1}"]
    subprocess.run(foreign, check=True)
    tunnels = overlay(*(f"10.0.0.{number}" for number in range(1, 1 + new_tunnels))).tunnels
    columns = {
        "Interface": {"name", "type", "options"},
        "Port": {"name"},
        "Bridge": {"name", "ports"},
    }

    async def look() -> model.Neighbourhood:
        async with connected(ovsdb, columns) as (watching, _):
            return watching.replica.converse(neighbours.look_around(tunnels, ()))

    found = asyncio.run(look())

    with Connection(ovsdb, Deadline(10)) as connection:
        assert found == connection.converse(neighbours.look_around(tunnels, ()))
    assert found.present == {"10.0.0.1": ("theirs", "other")}


def test_replica_refuses_what_it_does_not_copy(ovsdb: str) -> None:
    """A question about a column that is not copied is an error, never an empty answer."""

    async def ask() -> None:
        async with connected(ovsdb) as (watching, _):
            watching.replica.answer(QUESTIONS)

    with pytest.raises(LookupError, match="Bridge: not copied: controller"):
        asyncio.run(ask())


def test_changes_by_others_are_noticed(ovsdb: str) -> None:
    """What another client writes arrives without being asked for."""

    async def scenario() -> None:
        async with connected(ovsdb) as (watching, notice):
            before = watching.generation
            with Connection(ovsdb, Deadline(10)) as other:
                other.transact(insert_bridge("theirs"))
                await notice.until(lambda: bridges(watching) == {"theirs"}, "their bridge")
                assert watching.generation > before
                remove = {"op": "update", "table": "Open_vSwitch", "where": []}
                other.transact([{**remove, "row": {"bridges": ["set", []]}}])
                await notice.until(lambda: not bridges(watching), "its removal")

    asyncio.run(scenario())


def test_columns_that_nobody_asked_for_are_silent(ovsdb: str) -> None:
    """A change of a column that is not copied wakes nobody."""

    async def scenario() -> None:
        async with connected(ovsdb, {"Bridge": {"name"}}) as (watching, _):
            await watching.transact(insert_bridge("br0"))
            before = watching.generation
            row = {"other_config": ["map", [["a", "b"]]]}
            await watching.transact([{"op": "update", "table": "Bridge", "where": [], "row": row}])
            assert watching.generation == before

    asyncio.run(scenario())


# --- transactions ---


def test_own_transaction_is_in_the_replica_when_it_returns(ovsdb: str) -> None:
    """Each of 100 transactions in flight gets its own results, and finds them in the replica."""

    async def write(watching: Session, name: str) -> None:
        inserted, _ = await watching.transact(insert_bridge(name))
        select = {"op": "select", "table": "Bridge", "columns": ["name"]}
        where = [["_uuid", "==", inserted["uuid"]]]
        assert watching.replica.answer([{**select, "where": where}]) == [{"rows": [{"name": name}]}]

    async def scenario() -> None:
        async with connected(ovsdb) as (watching, _):
            names = {f"bridge{number}" for number in range(100)}
            await asyncio.gather(*(write(watching, name) for name in names))
            assert bridges(watching) == names

    asyncio.run(scenario())


def test_refused_transaction(ovsdb: str) -> None:
    """A transaction that OVSDB refuses raises its error, and the session goes on."""

    async def scenario() -> None:
        async with connected(ovsdb) as (watching, _):
            await watching.transact(insert_bridge("br0"))
            with pytest.raises(TransactionError) as caught:
                await watching.transact(insert_bridge("br0"))
            assert caught.value.kind in transaction.RACE_LOST
            assert watching.connected

    asyncio.run(scenario())


def test_unanswered_transaction_ends_at_its_deadline(ovsdb: str) -> None:
    """A caller waits no longer than it says, while others get their results."""
    never = transaction.until_dealt_with(["00000000-0000-0000-0000-00000000000f"], 5000)
    never[0]["until"], never[0]["rows"] = "==", [{"ofport": 1}]

    async def scenario() -> None:
        async with connected(ovsdb) as (watching, _):
            waiting = asyncio.create_task(watching.transact(never, seconds=0.3))
            await watching.transact(insert_bridge("br0"))
            with pytest.raises(errors.Unavailable, match=f"{ovsdb}.*no answer in time"):
                await waiting

    asyncio.run(scenario())


def test_vswitchd_is_seen(host: Host) -> None:
    """An ovs-vswitchd is seen while it runs, and asking never keeps a new one from starting."""
    path = f"/proc/{host.pid}/root/run/openvswitch/db.sock"

    async def scenario() -> None:
        async with connected(path) as (watching, _):
            assert await watching.vswitchd_runs()
            await asyncio.to_thread(host.signal, "TERM", "ovs-vswitchd")
            assert not await watching.vswitchd_runs()
            with Connection(path, Deadline(5)) as other, contextlib.suppress(errors.Unavailable):
                other.transact_if_vswitchd_runs([])  # takes the lock, if it is free
            assert not await watching.vswitchd_runs()

    asyncio.run(scenario())


# --- trouble ---


def test_restart_of_the_server(ovsdb_server: OvsdbServer) -> None:
    """A restarted server is found within a second, and the replica is what it has now."""

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
            await notice.until(lambda: watching.connected, "the new server", seconds=1)
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
        async with connected(ovsdb_server.socket, silence=0.2) as (watching, notice):
            ovsdb_server.signal(signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(errors.Unavailable, match="no answer in time"):
                await watching.transact([], seconds=0.1)
            with pytest.raises(errors.Unavailable, match="no answer in time"):
                await watching.transact([], seconds=30)
            assert not watching.connected
            assert time.monotonic() - started < 5
            ovsdb_server.signal(signal.SIGCONT)
            await notice.until(lambda: watching.connected, "the server that goes on")
            await watching.transact(insert_bridge("br0"))

    asyncio.run(scenario())


def test_silent_but_living_server_is_kept(ovsdb: str) -> None:
    """A server that only answers the probes is not given up."""

    async def scenario() -> None:
        async with connected(ovsdb, silence=0.05) as (watching, notice):
            before = watching.generation
            with contextlib.suppress(AssertionError):
                await notice.until(lambda: watching.generation > before, "nothing", seconds=0.5)
            assert watching.connected
            assert watching.generation == before

    asyncio.run(scenario())


def test_server_comes_late(short_folder: Path, ovsdb_server: OvsdbServer) -> None:
    """A session waits for its server, says why meanwhile, and is there as soon as the server is."""
    path = short_folder / "late.sock"

    async def scenario() -> None:
        async with session(path) as (watching, notice):
            with pytest.raises(errors.Unavailable, match="not connected yet"):
                await watching.transact([])
            await notice.until(lambda: "No such file" in watching.problem, "a reason")
            path.symlink_to(ovsdb_server.socket)
            await notice.until(lambda: watching.connected, "the connection", seconds=1.5)

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
            await notice.until(lambda: watching.connected, "the real server", seconds=3)

    asyncio.run(scenario())


def test_server_that_always_hangs_up_is_not_hammered(short_folder: Path) -> None:
    """Attempts that fail at once become rare."""
    path = short_folder / "db.sock"
    attempts: list[float] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(time.monotonic())
        writer.close()
        if len(attempts) == 9:
            enough.set()

    async def scenario() -> None:
        async with impostor(path, refuse), session(path):
            await asyncio.wait_for(enough.wait(), 20)

    enough = asyncio.Event()
    asyncio.run(scenario())
    assert attempts[-1] - attempts[0] > 1  # nine attempts, seconds
    assert max(later - before for before, later in itertools.pairwise(attempts)) < 1.5


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
        async with impostor(path, probe), session(path):
            return await asyncio.wait_for(answers.get(), 10)

    assert json.loads(asyncio.run(scenario())) == {"id": "echo", "result": ["x"], "error": None}
