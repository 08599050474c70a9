# SPDX-License-Identifier: Apache-2.0
"""The log: a record is a line, whatever names and messages hold."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.flaxd import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def record(message: str) -> logging.LogRecord:
    """A record as the `logging` module makes it, at 2026-03-01 12:00:00.123 UTC."""
    made = logging.getLogger("flaxd").makeRecord("flaxd", logging.INFO, "", 1, message, (), None)
    made.created, made.msecs = 1772366400.123, 123.0
    return made


def text(message: str) -> str:
    return logs.TextFormatter().format(record(message))


def as_json(message: str) -> dict[str, Any]:
    line = logs.JsonFormatter().format(record(message))
    assert "\n" not in line
    entry: dict[str, Any] = json.loads(line)
    return entry


@pytest.fixture
def root() -> Iterator[None]:
    """The root logger as it was before, after the test."""
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("add tunnel", "add tunnel"),
        ("x\n2026-03-01T12:00:00.123Z INFO forged", "x\\n2026-03-01T12:00:00.123Z INFO forged"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("right\u202eleft", "right\\u202eleft"),
        ("line\u2028line", "line\\u2028line"),
        ("\udc80", "\\udc80"),
        ("Müller", "Müller"),
    ],
)
def test_text(message: str, shown: str) -> None:
    """A line has the time in UTC, the level, and the message, which forges nothing."""
    assert text(message) == f"2026-03-01T12:00:00.123Z INFO {shown}"


@given(message=st.text())
def test_a_record_is_a_line(message: str) -> None:
    """Whatever is logged is one visible line, and in JSON it can be read back."""
    assert text(message).isprintable()
    assert as_json(message)["message"] == message


def test_json() -> None:
    """An entry has the same parts under names."""
    assert as_json("add tunnel") == {
        "time": "2026-03-01T12:00:00.123Z",
        "level": "info",
        "logger": "flaxd",
        "message": "add tunnel",
    }


def test_traceback() -> None:
    """A traceback is indented below its line, or a field; no line of it can pass for a record."""
    failed = record("cannot go on")
    try:
        int("bad\nname\x1b")
    except ValueError:
        failed.exc_info = sys.exc_info()

    first, *others = logs.TextFormatter().format(failed).split("\n")
    assert re.fullmatch(TIME + " INFO cannot go on", first)
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    entry = json.loads(logs.JsonFormatter().format(failed))
    assert "ValueError: invalid literal" in entry["traceback"]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_set_up(log_format: str) -> None:
    """After `set_up` all loggers write to its stream, from its level on, in its format."""
    stream = io.StringIO()
    logs.set_up(logging.INFO, log_format, stream)

    logging.getLogger("flaxd.source").info("%s nodes", 3)
    logging.getLogger("flaxd").debug("never seen")
    logging.getLogger("httpcore2.http11").info("a request: never seen")

    (line,) = stream.getvalue().splitlines()
    if log_format == "json":
        assert json.loads(line)["message"] == "3 nodes"
    else:
        assert re.fullmatch(TIME + " INFO 3 nodes", line)
