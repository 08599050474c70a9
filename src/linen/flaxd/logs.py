# SPDX-License-Identifier: Apache-2.0
"""The log: one line a record, as text or as JSON, on standard error, in UTC.

    2026-03-01T12:00:00.123Z INFO add tunnel vxif10_245_2_3 node=node3

Whatever is given as `extra=` becomes a field: `log.info("…", extra={"node": name})`.
Names of nodes and what Open vSwitch says are other people's texts: a character that is not plainly
visible (a line break, an escape sequence, one that turns the direction of writing) is written as
an escape, so that nobody can forge a line or command a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

# What each record has; all else came by `extra=`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
NEEDS_QUOTES = frozenset(' ="\\')


def set_up(level: int, log_format: str, stream: TextIO | None = None) -> None:
    """Write all records from `level` on; `log_format`: text or json."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Each request to Kubernetes would be several lines.
    logging.getLogger("httpcore2").setLevel(max(level, logging.WARNING))


class TextFormatter(logging.Formatter):
    """Time, level, message, fields; a traceback follows in lines that are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        fields = [f"{visible(key)}={_quoted(value)}" for key, value in _fields(record).items()]
        line = " ".join([_time(record), record.levelname, visible(record.getMessage()), *fields])
        trace = [f"    {visible(text)}" for text in _trace(record).splitlines()]
        return "\n".join([line, *trace])


class JsonFormatter(logging.Formatter):
    """One object a line, in ASCII: time, level, logger, message, the fields, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: value for key, value in _fields(record).items() if key not in entry}
        if trace := _trace(record):
            entry["traceback"] = trace
        return json.dumps(entry, default=str)


def visible(text: str) -> str:
    """The text on one line, with an escape for what one can't see."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _quoted(value: object) -> str:
    """A field's value, in quotes where it could be taken for more than one."""
    text = str(value)
    if text and text.isprintable() and NEEDS_QUOTES.isdisjoint(text):
        return text
    return '"' + visible(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in STANDARD}


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _trace(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
