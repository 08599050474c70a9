# SPDX-License-Identifier: Apache-2.0
"""Which known word somebody may have meant who wrote an unknown one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 40  # characters; the distance takes the product of both lengths in steps


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is closest to `word`, None where all differ in more than half of it."""
    if len(word) > LONGEST:
        return None
    lowered = word.lower()
    distance, best = min((_distance(lowered, other.lower()), other) for other in known)
    return best if distance * 2 <= max(len(word), 2) else None


def _distance(first: str, second: str) -> int:
    """Levenshtein's distance: insertions, deletions and replacements from one to the other."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]
