# SPDX-License-Identifier: Apache-2.0
"""A copy of a part of the database that is kept up to date by what the server says, without I/O.

It answers the core's own questions: the `select` operations of `core.observed` and
`core.obstacles`, with the rows that the server would send.
Values stay in OVSDB's notation, in the server's own order, so that a row here is equal to the one
that a `select` returns.
The updates are those of RFC 7047, section 4.1.6, and of ovsdb-server(7), "Update2 notification".
"""

from __future__ import annotations

from linen.core.notation import atoms, to_map, to_set, to_uuid
from linen.ovsdb import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
    from typing import TypeVar

    from linen.light.json import Json

    Learned = TypeVar("Learned")

# A row as update2 writes it lacks the columns that have their type's default value.
ATOM_DEFAULTS: dict[str, Json] = {
    "integer": 0,
    "real": 0.0,
    "boolean": False,
    "string": "",
    "uuid": to_uuid("00000000-0000-0000-0000-000000000000"),
}


def columns_read_by(*conversations: Iterable[Json]) -> dict[str, set[str]]:
    """For each table the columns that these `select` operations read: what is to be monitored."""
    columns: dict[str, set[str]] = {}
    for operation in (operation for operations in conversations for operation in operations):
        read = columns.setdefault(operation["table"], set())
        read.update(operation["columns"], (clause[0] for clause in operation["where"]))
        read.discard("_uuid")  # comes with each row, and can't be asked for
    return columns


class Replica:
    """The rows of some tables, each with some columns and `_uuid`.

    `columns`: for each table the columns that are copied.
    """

    def __init__(self, columns: Mapping[str, Collection[str]]) -> None:
        self.columns = {table: frozenset(names) for table, names in columns.items()}
        self._types: dict[str, dict[str, _Type]] = {}
        self._rows: dict[str, dict[str, Json]] = {table: {} for table in columns}

    def learn(self, schema: Json) -> None:
        """Take the types of the columns from the server's schema."""
        types: dict[str, dict[str, _Type]] = {}
        for table, names in self.columns.items():
            known = schema["tables"].get(table, {}).get("columns", {})
            if missing := sorted(names - known.keys()):
                raise wire.ProtocolError(f"its table {table} lacks {', '.join(missing)}")
            types[table] = {name: _Type(known[name]["type"]) for name in names}
        self._types = types

    def replace(self, updates: Json) -> None:
        """Forget all rows, and take those that the server sends first."""
        self._rows = {table: {} for table in self.columns}
        self.apply(updates)

    def apply(self, updates: Json) -> None:
        """Follow the server: one update notification, of either kind."""
        for table, rows in updates.items():
            for uuid, update in rows.items():
                self._apply(table, uuid, update)

    def _apply(self, table: str, uuid: str, update: Json) -> None:
        rows, types = self._rows[table], self._types[table]
        for kind, columns in update.items():
            match kind:
                case "modify":
                    row = rows[uuid]
                    changes = {
                        name: types[name].changed(row[name], difference)
                        for name, difference in columns.items()
                    }
                    rows[uuid] = row | changes
                case "initial" | "insert" | "new":
                    absent = {name: column.default for name, column in types.items()}
                    rows[uuid] = absent | columns | {"_uuid": to_uuid(uuid)}
                case "delete":
                    del rows[uuid]
                case "old" if "new" not in update:
                    del rows[uuid]

    def answer(self, operations: Sequence[Json]) -> list[Json]:
        """The results of these `select` operations, as the server would send them.

        Raises `LookupError` for a table or column that is not copied.
        """
        for table, read in columns_read_by(operations).items():
            if missing := read - self.columns.get(table, frozenset()):
                raise LookupError(f"{table}: not copied: {', '.join(sorted(missing))}")
        return [{"rows": self._select(operation)} for operation in operations]

    def converse(self, conversation: Generator[list[Json], list[Json], Learned]) -> Learned:
        """Carry a conversation of the core (operations out, results in) to its end."""
        return wire.converse(conversation, self.answer)

    def _select(self, operation: Json) -> list[Json]:
        rows: Iterable[Json] = self._rows[operation["table"]].values()
        for column, function, wanted in operation["where"]:
            matches = _FUNCTIONS[function](wanted)
            rows = [row for row in rows if matches(row[column])]
        columns = operation["columns"]
        return [{column: row[column] for column in columns} for row in rows]


class _Type:
    """What a column holds, as far as a default and a difference go (RFC 7047, section 3.2)."""

    __slots__ = ("changed", "default")

    def __init__(self, described: Json) -> None:
        if isinstance(described, str):
            described = {"key": described}
        key = described["key"]
        atom = ATOM_DEFAULTS[key if isinstance(key, str) else key["type"]]
        self.default: Json = atom if described.get("min", 1) else to_set([])
        self.changed: Callable[[Json, Json], Json] = _changed_scalar
        if "value" in described:
            self.default, self.changed = to_map({}), _changed_map
        elif described.get("max", 1) != 1:
            self.changed = _changed_set


def _changed_scalar(_: Json, new: Json) -> Json:
    """One atom or none: the difference is the new value."""
    return new


def _changed_set(old: Json, difference: Json) -> Json:
    """The difference of two sets: the members that are in one of them only."""
    members = {_key(atom): atom for atom in atoms(old)}
    for atom in atoms(difference):
        if members.pop(_key(atom), None) is None:
            members[_key(atom)] = atom
    ordered = [members[key] for key in sorted(members)]
    return ordered[0] if len(ordered) == 1 else to_set(ordered)


def _changed_map(old: Json, difference: Json) -> Json:
    """The difference of two maps: what to set, and those pairs of the old one that go."""
    pairs = {_key(pair[0]): pair for pair in old[1]}
    for pair in difference[1]:
        key = _key(pair[0])
        if pairs.get(key) == pair:
            del pairs[key]
        else:
            pairs[key] = pair
    return ["map", [pairs[key] for key in sorted(pairs)]]


def _key(atom: Json) -> Json:
    """What tells an atom apart from others of its type, and orders it as the server does."""
    return atom[1] if isinstance(atom, list) else atom


def _elements(value: Json) -> list[Json]:
    """The members of a set, or the pairs of a map."""
    is_plural = isinstance(value, list) and value[0] != "uuid"
    return value[1] if is_plural else [value]


def _includes(wanted: Json) -> Callable[[Json], bool]:
    elements = _elements(wanted)

    def matches(value: Json) -> bool:
        found = _elements(value)
        return all(element in found for element in elements)

    return matches


def _equals(wanted: Json) -> Callable[[Json], bool]:
    """Compares with `wanted` as the server would write it, which is how the rows are."""
    is_map = isinstance(wanted, list) and wanted[0] == "map"
    written = _changed_map(to_map({}), wanted) if is_map else _changed_set(to_set([]), wanted)
    return lambda value: bool(value == written)


_FUNCTIONS = {"==": _equals, "includes": _includes}
