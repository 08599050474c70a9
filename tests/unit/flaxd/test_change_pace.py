# SPDX-License-Identifier: Apache-2.0
"""How fast the daemon makes changes, by a clock that the test sets."""

from __future__ import annotations

from linen.flaxd.change_pace import CALM, REPEATS, UNDONE_PAUSE, ChangePace


def test_many_different_changes_wait_for_nothing() -> None:
    """A thousand nodes that join one after the other are not held up."""
    pace = ChangePace()

    pauses = {pace.changing([f"add tunnel {number}"], number / 100) for number in range(1000)}

    assert pauses == {0.0}


def test_a_change_that_somebody_undoes_is_made_less_often() -> None:
    """A change that is needed again and again is made at once some times, then once a second."""
    pace = ChangePace()

    pauses = [pace.changing(["add tunnel 1", f"add tunnel {n}"], n / 100) for n in range(2, 40)]

    assert pauses == [0.0] * REPEATS + [UNDONE_PAUSE] * (38 - REPEATS)


def test_calm_forgets() -> None:
    """A change that was not needed for a while is made at once again."""
    pace = ChangePace()
    for _ in range(REPEATS + 1):
        pace.changing(["add tunnel 1"], 0.0)

    assert pace.changing(["add tunnel 1"], CALM) == UNDONE_PAUSE
    assert pace.changing(["add tunnel 1"], 2 * CALM + 0.1) == 0.0
