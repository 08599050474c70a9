# SPDX-License-Identifier: Apache-2.0
"""Copies of an OVSDB that never was: with just the rows that a test is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linen.ovsdb.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Types of columns, as a schema has them (RFC 7047, section 3.2).
TEXT = {"type": "string"}
PAIRS = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}
REFERENCES = {"type": {"key": {"type": "uuid"}, "min": 0, "max": "unlimited"}}


def replica_of(
    columns: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Replica:
    """A copy of tables with these columns and their types, and these rows, as OVSDB writes them."""
    replica = Replica({table: set(types) for table, types in columns.items()})
    replica.learn({"tables": {table: {"columns": types} for table, types in columns.items()}})
    replica.replace(
        {
            table: {f"row{number}": {"initial": row} for number, row in enumerate(found)}
            for table, found in rows.items()
        }
    )
    return replica
