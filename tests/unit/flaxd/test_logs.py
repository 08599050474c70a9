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


def record(message: str, **fields: Any) -> logging.LogRecord:
    """A record as the `logging` module makes it, at 2026-03-01 12:00:00.123 UTC."""
    logger = logging.getLogger("flaxd")
    made = logger.makeRecord("flaxd", logging.INFO, "", 1, message, (), None, extra=fields or None)
    made.created, made.msecs = 1772366400.123, 123.0
    return made


def text(message: str, **fields: Any) -> str:
    return logs.TextFormatter().format(record(message, **fields))


def as_json(message: str, **fields: Any) -> dict[str, Any]:
    line = logs.JsonFormatter().format(record(message, **fields))
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


def test_text() -> None:
    """A line has the time in UTC, the level, the message, and fields as key=value."""
    line = text("add tunnel", node="node2", ms=3)

    assert line == "2026-03-01T12:00:00.123Z INFO add tunnel node=node2 ms=3"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("node2", "node2"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("x\n2026-03-01T12:00:00.123Z INFO forged", '"x\\n2026-03-01T12:00:00.123Z INFO forged"'),
        ("\x1b[31mred", '"\\x1b[31mred"'),
        ("right\u202eleft", '"right\\u202eleft"'),
        ("line\u2028line", '"line\\u2028line"'),
        ("\udc80", '"\\udc80"'),
        ("Müller", "Müller"),
        (("a", 1), "\"('a', 1)\""),
    ],
)
def test_values(value: object, shown: str) -> None:
    """A value is written so that it can be told from the next one and forges nothing."""
    assert text("say", field=value) == f"2026-03-01T12:00:00.123Z INFO say field={shown}"


@given(message=st.text(), value=st.text())
def test_a_record_is_a_line(message: str, value: str) -> None:
    """Whatever is logged is one visible line, and in JSON it can be read back."""
    line = text(message.replace("%", ""), field=value)
    assert line.isprintable()

    entry = as_json(message, field=value)
    assert (entry["message"], entry["field"]) == (message, value)


def test_json() -> None:
    """An entry has the same parts under names; a field cannot pass for one of them."""
    assert as_json("add tunnel", node="node2", time="never", level="none") == {
        "time": "2026-03-01T12:00:00.123Z",
        "level": "info",
        "logger": "flaxd",
        "message": "add tunnel",
        "node": "node2",
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

    logging.getLogger("flaxd.source").info("%s nodes", 3, extra={"source": "file"})
    logging.getLogger("flaxd").debug("never seen")
    logging.getLogger("httpcore2.http11").info("a request: never seen")

    (line,) = stream.getvalue().splitlines()
    if log_format == "json":
        entry = json.loads(line)
        assert (entry["message"], entry["source"]) == ("3 nodes", "file")
    else:
        assert re.fullmatch(TIME + " INFO 3 nodes source=file", line)
