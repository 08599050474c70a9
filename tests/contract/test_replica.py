# SPDX-License-Identifier: Apache-2.0
"""The replica follows the real server through any changes, and answers as the server does."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linen.ovsdb.session
from linen.ovsdb.blocking import TransactionError
from linen.ovsdb.session import Session
from support.notices import Notice, running

if TYPE_CHECKING:
    from collections.abc import Sequence

# One column at least of each kind: scalars of all types, optional ones, sets of atoms and of
# references, maps of strings and of integers to references, immutable ones, weak references.
COLUMNS = {
    "Open_vSwitch": {"bridges", "next_cfg", "external_ids"},
    "Bridge": {
        "name",
        "ports",
        "protocols",
        "fail_mode",
        "stp_enable",
        "external_ids",
        "flood_vlans",
        "flow_tables",
    },
    "Port": {"name", "interfaces", "tag", "trunks", "protected", "external_ids"},
    "Interface": {"name", "type", "options", "mac", "ofport", "mtu_request"},
    "Flow_Table": {"name", "flow_limit", "groups"},
    "Mirror": {"name", "select_src_port", "output_port"},
}

NAMES = st.sampled_from(["a", "b", "ä", "Z"])
ATOMS = st.sampled_from(["", "x", "é", 'quote"', "\ud83d\ude00", "}"])
STRINGS = st.dictionaries(ATOMS, ATOMS, max_size=3)
VLANS = st.sets(st.integers(0, 12), max_size=5)


def to_set(atoms: Any) -> Any:
    return ["set", sorted(atoms)]


def to_map(pairs: dict[Any, Any]) -> Any:
    return ["map", [list(pair) for pair in pairs.items()]]


def optional(atoms: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(["set", []]), atoms)


VALUES: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("Open_vSwitch", "next_cfg"): st.integers(-3, 3),
    ("Open_vSwitch", "external_ids"): STRINGS.map(to_map),
    ("Bridge", "fail_mode"): optional(st.sampled_from(["standalone", "secure"])),
    ("Bridge", "stp_enable"): st.booleans(),
    ("Bridge", "flood_vlans"): VLANS.map(to_set),
    ("Bridge", "external_ids"): STRINGS.map(to_map),
    ("Bridge", "protocols"): st.sets(
        st.sampled_from(["OpenFlow10", "OpenFlow13", "OpenFlow15"])
    ).map(to_set),
    ("Port", "tag"): optional(st.integers(0, 4095)),
    ("Port", "trunks"): VLANS.map(to_set),
    ("Port", "protected"): st.booleans(),
    ("Port", "external_ids"): STRINGS.map(to_map),
    ("Interface", "type"): st.sampled_from(["", "vxlan", "internal"]),
    ("Interface", "options"): STRINGS.map(to_map),
    ("Interface", "mac"): optional(st.just("02:00:00:00:00:01")),
    ("Interface", "ofport"): optional(st.integers(-1, 5)),
    ("Interface", "mtu_request"): optional(st.sampled_from([1400, 9000])),
}


def update(table: str, column: str, value: Any) -> list[Any]:
    return [{"op": "update", "table": table, "where": [], "row": {column: value}}]


def mutate(table: str, column: str, mutator: str, value: Any) -> list[Any]:
    mutation = [column, mutator, value]
    return [{"op": "mutate", "table": table, "where": [], "mutations": [mutation]}]


def add_bridge(name: str) -> list[Any]:
    """A bridge with a port, a flow table and a mirror of that port."""
    port = ["named-uuid", "port"]
    row = {
        "name": name,
        "ports": port,
        "flow_tables": ["map", [[1, ["named-uuid", "flows"]]]],
        "mirrors": ["named-uuid", "mirror"],
    }
    return [
        *insert_port(f"{name}-port"),
        insert("Flow_Table", {"name": name, "groups": ["set", ["x", "y"]]}, "flows"),
        insert("Mirror", {"name": name, "select_src_port": port, "output_port": port}, "mirror"),
        insert("Bridge", row, "bridge"),
        *mutate("Open_vSwitch", "bridges", "insert", ["named-uuid", "bridge"]),
    ]


def add_port(name: str) -> list[Any]:
    """A port on every bridge; refused where there is more than one, or none."""
    return insert_port(name) + mutate("Bridge", "ports", "insert", ["named-uuid", "port"])


def insert_port(name: str) -> list[Any]:
    return [
        insert("Interface", {"name": name}, "interface"),
        insert("Port", {"name": name, "interfaces": ["named-uuid", "interface"]}, "port"),
    ]


def insert(table: str, row: Any, label: str) -> dict[str, Any]:
    return {"op": "insert", "table": table, "row": row, "uuid-name": label}


# Without a reference to them the ports go, and with them the mirrors' weak references.
NO_PORTS = update("Bridge", "ports", ["set", []])
NO_BRIDGES = update("Open_vSwitch", "bridges", ["set", []])
CHANGES = st.one_of(
    NAMES.map(add_bridge),
    NAMES.map(add_port),
    st.just(NO_PORTS),
    st.just(NO_BRIDGES),
    *(value.map(functools.partial(update, *column)) for column, value in VALUES.items()),
    STRINGS.map(to_map).map(functools.partial(mutate, "Bridge", "external_ids", "insert")),
    st.sets(ATOMS).map(to_set).map(functools.partial(mutate, "Bridge", "external_ids", "delete")),
    VLANS.map(to_set).map(functools.partial(mutate, "Port", "trunks", "insert")),
    VLANS.map(to_set).map(functools.partial(mutate, "Port", "trunks", "delete")),
)
TRANSACTIONS = st.lists(CHANGES, min_size=1, max_size=3).map(
    lambda changes: [operation for change in changes for operation in change]
)

EVERYTHING: list[Any] = [
    {"op": "select", "table": table, "where": [], "columns": ["_uuid", *sorted(columns)]}
    for table, columns in COLUMNS.items()
]
CLAUSES = [
    ("Bridge", "name", "==", "ä"),
    ("Bridge", "external_ids", "includes", ["map", [["", "x"]]]),
    ("Bridge", "external_ids", "includes", ["map", []]),
    ("Bridge", "external_ids", "==", ["map", [["x", ""], ["", "x"]]]),
    ("Bridge", "fail_mode", "==", ["set", ["secure"]]),
    ("Port", "trunks", "includes", 3),
    ("Port", "trunks", "includes", ["set", [5, 3]]),
    ("Port", "trunks", "==", ["set", [9, 1, 5]]),
    ("Port", "tag", "==", ["set", []]),
    ("Port", "protected", "==", True),
]
SEARCHES: list[Any] = [
    {"op": "select", "table": table, "where": [clause], "columns": ["_uuid"]}
    for table, *clause in CLAUSES
]


def by_uuid(results: Sequence[Any]) -> list[Any]:
    return [sorted(result["rows"], key=lambda row: row["_uuid"]) for result in results]


async def follow(path: str, transactions: list[list[Any]]) -> int:
    """Replicate, carry out the transactions, and compare after each; how many were refused."""
    refused = 0
    notice = Notice()
    session = Session(path, COLUMNS, notice)
    async with running(session.run()):
        await notice.until(lambda: session.connected, "a connection")
        await session.transact(NO_BRIDGES)
        for operations in transactions:
            try:
                await session.transact(operations)
            except TransactionError:
                refused += 1
            for questions in EVERYTHING, SEARCHES:
                fresh = await session.transact(questions)
                assert by_uuid(session.replica.answer(questions)) == by_uuid(fresh)
    return refused


@pytest.mark.parametrize("method", ["monitor_cond", "monitor"])
def test_any_transactions(ovsdb: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any transactions the replica answers what the server does, value by value."""
    monkeypatch.setattr(linen.ovsdb.session, "MONITORS", (method,))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(TRANSACTIONS, max_size=8))
    def explore(transactions: list[list[Any]]) -> None:
        asyncio.run(follow(ovsdb, transactions))

    explore()


def test_every_kind_of_change(ovsdb: str) -> None:
    """Insert, modify and delete, sets, maps, references and defaults, each at least once."""
    transactions = [
        add_bridge("a"),
        add_port("b"),
        update("Port", "trunks", ["set", [5, 3, 4]]),
        mutate("Port", "trunks", "delete", ["set", [3, 4]]),
        mutate("Port", "trunks", "insert", ["set", [9, 1]]),
        update("Port", "tag", 7),
        update("Port", "tag", ["set", []]),
        update("Bridge", "external_ids", ["map", [["b", "1"], ["a", "1"]]]),
        mutate("Bridge", "external_ids", "delete", ["set", ["b"]]),
        update("Bridge", "external_ids", ["map", [["a", "2"], ["", ""]]]),
        update("Bridge", "flow_tables", ["map", []]),
        update("Bridge", "stp_enable", value=True),
        update("Bridge", "stp_enable", value=False),
        NO_PORTS,
        NO_BRIDGES,
    ]

    assert asyncio.run(follow(ovsdb, transactions)) == 0


def test_older_server(ovsdb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server does not know the better way to monitor, the next one is taken."""
    monkeypatch.setattr(linen.ovsdb.session, "MONITORS", ("monitor_by_telepathy", "monitor"))

    assert asyncio.run(follow(ovsdb, [add_bridge("a"), add_port("b"), NO_BRIDGES])) == 0
