# SPDX-License-Identifier: Apache-2.0
"""The rules of one OVS bridge as it tells them, and the way from them to those that are wanted.

Only rules with our cookie are ours to remove. One of ours that somebody replaced is put back, since
its key says what it decides, and that is our business. Rules beside ours stay, and are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from linen.openflow import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Changes(NamedTuple):
    """What leads from the rules there are to those that are wanted. `delete`: keys."""

    add: list[wire.Entry]
    delete: list[bytes]


class Table:
    """The rules that there are: key to content."""

    def __init__(self) -> None:
        self.rules: dict[bytes, bytes] = {}

    def take(self, events: Iterable[wire.Event]) -> bool:
        """Take in what a flow monitor tells; whether a rule is another now."""
        changed = False
        for event, (key, content) in events:
            if event == wire.REMOVED:
                changed = self.rules.pop(key, None) is not None or changed
            elif self.rules.get(key) != content:
                self.rules[key] = content
                changed = True
        return changed

    def carried_out(self, changes: Changes) -> None:
        """Take in changes of our own, which the monitor leaves out."""
        for key in changes.delete:
            self.rules.pop(key, None)
        self.rules.update(changes.add)

    def foreign(self) -> int:
        """How many rules are not ours."""
        return sum(not wire.is_ours(content) for content in self.rules.values())


def difference(wanted: Mapping[bytes, bytes], seen: Mapping[bytes, bytes]) -> Changes:
    """The changes from `seen` to `wanted`, both key to content."""
    add = [wire.Entry(key, c) for key, c in wanted.items() if seen.get(key) != c]
    delete = [key for key, c in seen.items() if key not in wanted and wire.is_ours(c)]
    return Changes(add, delete)
