# SPDX-License-Identifier: Apache-2.0
"""The log: one line a record, as text or as JSON, on standard error, in UTC.

    2026-03-01T12:00:00.123Z INFO the overlay works: 2 other nodes

Names of nodes and what Open vSwitch says are other people's texts: a character that is not plainly
visible (a line break, an escape sequence, one that turns the direction of writing) is written as
an escape, so that nobody can forge a line or command a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


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
    """Time, level, message; a traceback follows in lines that are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        line = f"{_time(record)} {record.levelname} {visible(record.getMessage())}"
        trace = [f"    {visible(text)}" for text in _trace(record).splitlines()]
        return "\n".join([line, *trace])


class JsonFormatter(logging.Formatter):
    """One object a line, in ASCII: time, level, logger, message, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(record):
            entry["traceback"] = trace
        return json.dumps(entry)


def visible(text: str) -> str:
    """The text on one line, with an escape for what one can't see."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


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
