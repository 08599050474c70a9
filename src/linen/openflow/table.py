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

    `touched`: the keys of all that have changed since somebody emptied it.
    """

    def __init__(self) -> None:
        self.rules: dict[bytes, bytes] = {}
        self.foreign = 0
        self.touched: set[bytes] = set()

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
        self.touched.add(key)
        return True


class Comparison:
    """The rules that are wanted, and in which the rules that there are may be others.

    What a comparison costs depends on what has changed since the last, not on how many rules there
    are.
    """

    def __init__(self) -> None:
        self.wanted: dict[bytes, bytes] = {}
        self._table = Table()
        self._suspects: set[bytes] = set()  # what is wanted and what there is agree in all others

    def want(self, entries: Iterable[wire.Entry]) -> None:
        """Want these rules, too."""
        for key, content in entries:
            self.wanted[key] = content
            self._suspects.add(key)

    def drop(self, keys: Iterable[bytes]) -> None:
        """Want the rules with these keys no more."""
        for key in keys:
            del self.wanted[key]
            self._suspects.add(key)

    def difference(self, table: Table) -> Changes:
        """The changes that lead from the rules there are to those that are wanted.

        `table`: the same each time, or another, as after a new connection; emptied of what it has
        touched.
        """
        if table is not self._table:
            self._table = table
            self._suspects.update(self.wanted, table.rules)
        self._suspects |= table.touched
        table.touched.clear()
        changes = Changes([], [])
        for key in self._suspects:
            wanted, seen = self.wanted.get(key), table.rules.get(key)
            if wanted is None:
                if seen is not None and wire.is_ours(seen):
                    changes.delete.append(key)
            elif wanted != seen:
                changes.add.append(wire.Entry(key, wanted))
        self._suspects = {*changes.delete, *(key for key, _ in changes.add)}
        return changes
