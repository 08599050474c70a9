# SPDX-License-Identifier: Apache-2.0
"""OVSDB's notation of values (RFC 7047, section 5.1) to plain ones and back."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from linen.light.json import Json


def to_set(atoms: Iterable[Json]) -> Json:
    """A set; atoms that are UUIDs come in their own notation, see `to_uuid`."""
    return ["set", list(atoms)]


def to_map(pairs: dict[str, str]) -> Json:
    """A map from string to string, in the order of its keys (so that equal maps are equal text)."""
    return ["map", [[key, pairs[key]] for key in sorted(pairs)]]


def to_uuid(uuid: str) -> Json:
    """A reference to the row `uuid`."""
    return ["uuid", uuid]


def new_row(label: str) -> Json:
    """A reference to the row that the same transaction inserts under `label`."""
    return ["named-uuid", label]


def atoms(value: Json) -> list[Json]:
    """The members of a set. A set of one may also be written as its atom alone."""
    if isinstance(value, list) and value[0] == "set":
        return list(value[1])
    return [value]


def optional(value: Json) -> Json:
    """The member of a set of at most one, or None."""
    members = atoms(value)
    return members[0] if members else None


def pairs(value: Json) -> dict[str, str]:
    """A map as a dictionary."""
    return dict(value[1])


def uuids(value: Json) -> list[str]:
    """The references in a set of rows, each as the UUID's text."""
    return [atom[1] for atom in atoms(value)]


def is_(column: str, value: Json) -> Json:
    """A `where` clause: the column has this value."""
    return [[column, "==", value]]


def includes(column: str, value: Json) -> Json:
    """A `where` clause: the column's set or map has all of `value`."""
    return [[column, "includes", value]]


def select(table: str, where: Json, columns: tuple[str, ...]) -> Json:
    """The operation that reads `columns` of the rows that match `where`."""
    return {"op": "select", "table": table, "where": where, "columns": list(columns)}
