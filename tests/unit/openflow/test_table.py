# SPDX-License-Identifier: Apache-2.0
"""From the rules there are to those that are wanted."""

from __future__ import annotations

from linen.core.flows import OUTPUT, Rule
from linen.openflow import table, wire
from linen.openflow.table import Changes, Table

SENT = wire.entry(Rule(5, (), ((OUTPUT, bytes(4)),)))
DROPPED = wire.entry(Rule(5, ()))
OTHER = wire.entry(Rule(6, ()))
FOREIGN = bytes(8)
OLDER = wire.OURS.to_bytes(4, "big") + bytes(4)


def test_nothing_is_changed_where_all_is_right() -> None:
    """What is there already is not written again."""
    assert table.difference(dict([SENT, OTHER]), dict([OTHER, SENT])) == ([], [])


def test_what_is_missing_or_other_is_added_and_what_is_left_over_deleted() -> None:
    """Each rule is written at most once: adding one replaces what has its key."""
    changes = table.difference(dict([SENT]), dict([DROPPED, OTHER]))

    assert changes == ([SENT], [OTHER.key])


def test_rules_of_others_stay() -> None:
    """What has not our cookie is not deleted, whatever else it has."""
    assert table.difference({}, {OTHER.key: FOREIGN}) == ([], [])


def test_a_rule_of_others_in_the_place_of_ours_is_replaced() -> None:
    """What becomes of packets that a rule of ours matches is ours to say."""
    assert table.difference(dict([SENT]), {SENT.key: FOREIGN}) == ([SENT], [])


def test_rules_of_an_older_version_go() -> None:
    """An upgrade writes its own rules, and removes those that only the older version had."""
    seen = {SENT.key: OLDER, OTHER.key: OLDER}

    assert table.difference(dict([SENT]), seen) == ([SENT], [OTHER.key])


def test_news_of_the_switch_are_told_once() -> None:
    """What changes nothing is no news."""
    seen = Table()
    added = wire.Event(wire.ADDED, SENT)

    assert seen.take([added])
    assert not seen.take([added])
    assert seen.take([wire.Event(wire.MODIFIED, DROPPED)])
    assert seen.take([wire.Event(wire.REMOVED, DROPPED)])
    assert not seen.take([wire.Event(wire.REMOVED, DROPPED)])
    assert seen.rules == {}


def test_own_changes_are_taken_in() -> None:
    """After changes of ours the table has what was wanted, and knows what isn't ours."""
    seen = Table()
    seen.rules = {OTHER.key: FOREIGN, DROPPED.key: OLDER}
    seen.carried_out(Changes([SENT], []))
    assert seen.rules == {OTHER.key: FOREIGN, SENT.key: SENT.content}
    assert seen.foreign() == 1

    seen.carried_out(Changes([], [SENT.key]))
    assert seen.rules == {OTHER.key: FOREIGN}
