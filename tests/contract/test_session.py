# SPDX-License-Identifier: Apache-2.0
"""The daemon's OVSDB session against the real server: the replica and transactions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from linen.core import desired, errors, model, observed, obstacles, planner, transaction
from linen.core.plan import Plan
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection, TransactionError
from linen.ovsdb.replica import columns_read_by
from support.sessions import bridges, connected, insert_bridge

if TYPE_CHECKING:
    from linen.ovsdb.session import Session

QUESTIONS = observed.questions("br0", "blue", "flaxd")


def overlay(*vteps: str) -> model.OverlaySpec:
    options = model.OverlayOptions(vteps=vteps, vni=7, controllers=["tcp:10.9.9.1:6653"])
    return desired.overlay_spec(options, network="blue", maker="flaxd", mtu=1400)


def steps_to(spec: model.OverlaySpec, seen: model.Observed) -> list[Any]:
    return transaction.operations(Plan(spec, seen, planner.difference(spec, seen)))


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
                assert not planner.difference(spec, copied)

    with Connection(ovsdb, Deadline(30)) as connection:
        asyncio.run(scenario(connection))


@pytest.mark.parametrize("new_tunnels", [2, obstacles.SEARCH_LIMIT + 1])
def test_core_finds_obstacles_in_the_replica(ovsdb: str, new_tunnels: int) -> None:
    """Rows in the way of new tunnels are found in the replica as on the server."""
    foreign = ["ovs-vsctl", f"--db=unix:{ovsdb}", "--no-wait", "add-br", "other", "--"]
    foreign += ["add-port", "other", "theirs", "--", "set", "Interface", "theirs", "type=vxlan"]
    foreign += ["options={key=7,remote_ip=10.0.0.1}"]
    subprocess.run(foreign, check=True)
    spec = overlay(*(f"10.0.0.{number}" for number in range(1, 1 + new_tunnels)))
    columns = {
        "Interface": {"name", "type", "options"},
        "Port": {"name", "external_ids"},
        "Bridge": {"name", "ports"},
    }

    async def look() -> model.Obstacles:
        async with connected(ovsdb, columns) as (watching, _):
            return watching.replica.converse(obstacles.find(spec, spec.tunnels, ()))

    found = asyncio.run(look())

    with Connection(ovsdb, Deadline(10)) as connection:
        assert found == connection.converse(obstacles.find(spec, spec.tunnels, ()))
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
            before = notice.calls
            with Connection(ovsdb, Deadline(10)) as other:
                other.transact(insert_bridge("theirs"))
                await notice.until(lambda: bridges(watching) == {"theirs"}, "their bridge")
                assert notice.calls > before
                remove = {"op": "update", "table": "Open_vSwitch", "where": []}
                other.transact([{**remove, "row": {"bridges": ["set", []]}}])
                await notice.until(lambda: not bridges(watching), "its removal")

    asyncio.run(scenario())


def test_columns_that_nobody_asked_for_are_silent(ovsdb: str) -> None:
    """A change of a column that is not copied wakes nobody."""

    async def scenario() -> None:
        async with connected(ovsdb, {"Bridge": {"name"}}) as (watching, notice):
            await watching.transact(insert_bridge("br0"))
            before = notice.calls
            row = {"other_config": ["map", [["a", "b"]]]}
            await watching.transact([{"op": "update", "table": "Bridge", "where": [], "row": row}])
            assert notice.calls == before

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


def test_one_of_two_writes(ovsdb: str) -> None:
    """Of two that ask for one lock only one can write, and the other as soon as that has ended."""

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            first, _ = await stack.enter_async_context(connected(ovsdb, lock="linen_blue"))
            async with connected(ovsdb, lock="linen_blue") as (second, notice):
                assert first.may_write
                assert not second.may_write
                with pytest.raises(TransactionError) as caught:
                    await second.transact(insert_bridge("br1"))
                assert caught.value.kind in transaction.RACE_LOST
                assert len(await first.transact(insert_bridge("br0"))) == len(insert_bridge("br0"))

                await stack.aclose()
                await notice.until(lambda: second.may_write, "the lock")
                await second.transact(insert_bridge("br1"))
                assert bridges(second) == {"br0", "br1"}

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
