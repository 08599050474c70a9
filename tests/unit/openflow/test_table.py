# SPDX-License-Identifier: Apache-2.0
"""From the rules there are to those that are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from linen.core.flows import OUTPUT, Rule
from linen.openflow import wire
from linen.openflow.table import Changes, Comparison, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SENT = wire.entry(Rule(5, (), ((OUTPUT, bytes(4)),)))
DROPPED = wire.entry(Rule(5, ()))
OTHER = wire.entry(Rule(6, ()))
FOREIGN = bytes(8)
OLDER = wire.OURS.to_bytes(4, "big") + bytes(4)


def table(*rules: tuple[bytes, bytes]) -> Table:
    """A bridge's rules as they are told first."""
    seen = Table()
    seen.take(wire.Event(wire.INITIAL, wire.Entry(*rule)) for rule in rules)
    return seen


def difference(wanted: Iterable[wire.Entry], seen: Table) -> Changes:
    """The changes that lead to `wanted`."""
    comparison = Comparison()
    comparison.want(wanted)
    return comparison.difference(seen)


def test_nothing_is_changed_where_all_is_right() -> None:
    """What is there already is not written again."""
    assert difference([SENT, OTHER], table(OTHER, SENT)) == ([], [])


def test_what_is_missing_or_other_is_added_and_what_is_left_over_deleted() -> None:
    """Each rule is written at most once: adding one replaces what has its key."""
    changes = difference([SENT], table(DROPPED, OTHER))

    assert changes == ([SENT], [OTHER.key])


def test_rules_of_others_stay() -> None:
    """What has not our cookie is not deleted, whatever else it has."""
    assert difference([], table((OTHER.key, FOREIGN))) == ([], [])


def test_a_rule_of_others_in_the_place_of_ours_is_replaced() -> None:
    """What becomes of packets that a rule of ours matches is ours to say."""
    assert difference([SENT], table((SENT.key, FOREIGN))) == ([SENT], [])


def test_rules_of_an_older_version_go() -> None:
    """An upgrade writes its own rules, and removes those that only the older version had."""
    seen = table((SENT.key, OLDER), (OTHER.key, OLDER))

    assert difference([SENT], seen) == ([SENT], [OTHER.key])


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
    seen = table((OTHER.key, FOREIGN), (DROPPED.key, OLDER))
    seen.carried_out(Changes([SENT], []))
    assert seen.rules == {OTHER.key: FOREIGN, SENT.key: SENT.content}
    assert seen.foreign == 1

    seen.carried_out(Changes([], [SENT.key]))
    assert seen.rules == {OTHER.key: FOREIGN}


def test_what_is_not_carried_out_is_told_again() -> None:
    """A difference stays one until the rules are as they should be."""
    seen, comparison = table(), Comparison()
    comparison.want([SENT])

    assert comparison.difference(seen) == comparison.difference(seen) == ([SENT], [])
    seen.take([wire.Event(wire.ADDED, SENT)])
    assert comparison.difference(seen) == ([], [])


def test_a_new_connection_is_compared_from_the_start() -> None:
    """After a restart of Open vSwitch, which has no rules then, all of them are missing."""
    comparison = Comparison()
    comparison.want([SENT, OTHER])
    assert comparison.difference(table(SENT, OTHER)) == ([], [])

    assert sorted(comparison.difference(table()).add) == sorted([SENT, OTHER])


KEYS = [bytes([0, number]) for number in range(6)]
CONTENTS = [wire.COOKIE.to_bytes(8, "big"), OLDER, FOREIGN]
RULES = st.builds(wire.Entry, st.sampled_from(KEYS), st.sampled_from(CONTENTS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), RULES),
        st.tuples(st.just("drop"), RULES),
        st.tuples(st.just("hear"), st.builds(wire.Event, st.integers(1, 3), RULES)),
        st.tuples(st.just("reconnect"), st.lists(RULES)),
        st.tuples(st.just("compare"), st.none()),
        st.tuples(st.just("write"), st.none()),
    )
)


@given(STEPS)
def test_a_comparison_step_by_step_is_one_from_nothing(steps: Sequence[tuple[str, Any]]) -> None:
    """Whatever was wanted, heard and written in whatever order, no difference is overlooked."""
    comparison, seen = Comparison(), table()
    for kind, what in steps:
        match kind:
            case "want":
                comparison.want([wire.Entry(what.key, CONTENTS[0])])
            case "drop" if what.key in comparison.wanted:
                comparison.drop([what.key])
            case "hear":
                seen.take([what])
            case "reconnect":
                seen = table(*what)
            case "compare":
                comparison.difference(seen)
            case "write":
                seen.carried_out(comparison.difference(seen))
                assert comparison.difference(seen) == ([], [])

    found = comparison.difference(seen)
    wanted, there = comparison.wanted, seen.rules
    assert sorted(found.add) == sorted(r for r in wanted.items() if there.get(r[0]) != r[1])
    left_over = [k for k, content in there.items() if k not in wanted and wire.is_ours(content)]
    assert sorted(found.delete) == sorted(left_over)
    assert seen.foreign == sum(not wire.is_ours(content) for content in there.values())
