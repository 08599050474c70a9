# SPDX-License-Identifier: Apache-2.0
"""Tidying up that is not stopped by a failure of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from linen.lab.errors import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def take_all(steps: Iterable[Callable[[], object]]) -> None:
    """Take each step, whatever became of those before it.

    The first failure is raised at the end; the others are notes of it.
    """
    first: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is raised below)
            if first is None:
                first = error
            else:
                first.add_note(f"and {tell(error)}")
    if first is not None:
        raise first


@contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` if the block fails; should that fail as well, it is a note of the cause."""
    try:
        yield
    except BaseException as cause:
        try:
            undo()
        except Exception as error:  # noqa: BLE001 (it must not hide the cause)
            cause.add_note(f"and, tidying up: {tell(error)}")
        raise
