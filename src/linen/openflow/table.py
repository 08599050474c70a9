# SPDX-License-Identifier: Apache-2.0
"""The rules of one OVS bridge as it tells them, and the way from them to those that are wanted.

Only rules with our cookie are ours to remove. One of ours that somebody replaced is put back, since
its key says what it decides, and that is our business. Rules beside ours stay, and are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from linen.openflow import wire

if TYPE_CHECKING:
    from collections.abc import Iterable


class Changes(NamedTuple):
    """What leads from the rules there are to those that are wanted. `delete`: keys."""

    add: list[wire.Entry]
    delete: list[bytes]


class Table:
    """The rules that there are, key to content, and how many of them are not ours.

    `touched`: the keys of all that have changed since somebody emptied it, in their order.
    """

    def __init__(self) -> None:
        self.rules: dict[bytes, bytes] = {}
        self.foreign = 0
        self.touched: dict[bytes, None] = {}

    def take(self, events: Iterable[wire.Event]) -> bool:
        """Take in what a flow monitor tells; whether a rule is another now."""
        changed = False
        for event, (key, content) in events:
            changed = self._put(key, None if event == wire.REMOVED else content) or changed
        return changed

    def carried_out(self, changes: Changes) -> None:
        """Take in changes of our own, which the monitor leaves out."""
        for key in changes.delete:
            self._put(key, None)
        for key, content in changes.add:
            self._put(key, content)

    def _put(self, key: bytes, content: bytes | None) -> bool:
        before = self.rules.get(key)
        if before == content:
            return False
        if before is not None:
            self.foreign -= not wire.is_ours(before)
        if content is None:
            del self.rules[key]
        else:
            self.rules[key] = content
            self.foreign += not wire.is_ours(content)
        self.touched[key] = None
        return True


class Comparison:
    """The rules that are wanted, and in which the rules that there are may be others.

    What a comparison costs depends on what has changed since the last, not on how many rules there
    are.
    """

    def __init__(self) -> None:
        self.wanted: dict[bytes, bytes] = {}
        self._table = Table()
        # What is wanted and what there is agree in all other keys.
        self._suspects: dict[bytes, None] = {}

    def want(self, entries: Iterable[wire.Entry]) -> None:
        """Want these rules, too."""
        for key, content in entries:
            self.wanted[key] = content
            self._suspects[key] = None

    def drop(self, keys: Iterable[bytes]) -> None:
        """Want the rules with these keys no more."""
        for key in keys:
            del self.wanted[key]
            self._suspects[key] = None

    def difference(self, table: Table) -> Changes:
        """The changes that lead from the rules there are to those that are wanted.

        `table`: the same each time, or another, as after a new connection; emptied of what it has
        touched.
        """
        if table is not self._table:
            self._table = table
            self._suspects |= dict.fromkeys(self.wanted) | dict.fromkeys(table.rules)
        self._suspects |= table.touched
        table.touched.clear()
        wanted, seen = self.wanted, table.rules
        add = [
            wire.Entry(key, wanted[key])
            for key in self._suspects
            if key in wanted and seen.get(key) != wanted[key]
        ]
        left_over = [key for key in self._suspects if key in seen and key not in wanted]
        delete = [key for key in left_over if wire.is_ours(seen[key])]
        self._suspects = dict.fromkeys([*delete, *[entry.key for entry in add]])
        return Changes(add, delete)
