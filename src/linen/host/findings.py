# SPDX-License-Identifier: Apache-2.0
"""What a check finds, and what a check is.

A check is a name, the promise that holds where it finds nothing, and a small function that looks
at one subject (a conflist, a folder of them, a node) and yields what is wrong with it.
The name is also the heading in docs/troubleshooting.md that tells more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Severity: TypeAlias = Literal["error", "warning", "note", "ok"]
Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Finding:
    """One sentence each: where, what is seen there, why that is so, and what would be right.

    error: pods will not start, or not reach one another.
    warning: it works now, and will not always.
    note: nothing is wrong, but somebody may wonder.
    ok: the check found nothing; `what` is its promise.
    """

    severity: Severity
    where: str
    what: str
    cause: str = ""
    cure: str = ""
    check: str = ""


def error(where: str, what: str, *, cause: str = "", cure: str = "") -> Finding:
    """Pods will not start, or not reach one another."""
    return Finding("error", where, what, cause, cure)


def warning(where: str, what: str, *, cause: str = "", cure: str = "") -> Finding:
    """It works now, and will not always."""
    return Finding("warning", where, what, cause, cure)


def note(where: str, what: str, *, cause: str = "", cure: str = "") -> Finding:
    """Nothing is wrong, but somebody may wonder."""
    return Finding("note", where, what, cause, cure)


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One row of a table of checks."""

    name: str
    promise: str
    look: Callable[[Subject], Iterable[Finding]]

    def run(self, subject: Subject, where: str) -> list[Finding]:
        """What the check finds, each with its name; one `ok` about `where` if that is nothing."""
        found = [replace(finding, check=self.name) for finding in self.look(subject)]
        return found or [Finding("ok", where, self.promise, check=self.name)]


def run_all(checks: Iterable[Check[Subject]], subject: Subject, where: str) -> list[Finding]:
    """What all of a table's checks find."""
    return [finding for check in checks for finding in check.run(subject, where)]


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether one of them is an error."""
    return any(finding.severity == "error" for finding in findings)
