# SPDX-License-Identifier: Apache-2.0
"""JSON through the C scanner and encoder alone.

The plugin's static file has these halves of the standard `json` package, and no package. This is
the only file that may import `_json`. Stricter than the package, as RFC 8259 is: NaN and Infinity
are refused, also as `1e999`.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeAlias

    # A document of any shape. Whoever reads one that comes from outside checks each part of it.
    Json: TypeAlias = Any

WHITESPACE = " \t\n\r"


class JsonInvalid(ValueError):
    """The text is not one JSON document."""


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        raise ValueError(text)
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


class _Rules:
    """What `make_scanner` reads from its argument: the attributes of `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012  (the scanner clears it after each document)


def _refuse_object(value: object) -> NoReturn:
    raise TypeError(type(value).__name__)


_scan = make_scanner(_Rules)  # type: ignore[arg-type]  # any object with these attributes will do
_encode = make_encoder(
    None, _refuse_object, encode_basestring_ascii, None, ": ", ", ", False, False, False
)


def scan(text: str, start: int) -> tuple[Json, int]:
    """The JSON document that begins at `start` or behind white space there, and the index after it.

    Raises `JsonInvalid` where there is none, and where the text ends inside of it.
    """
    end = len(text)
    while start < end and text[start] in WHITESPACE:
        start += 1
    try:
        document: tuple[Json, int] = _scan(text, start)
    except (StopIteration, ValueError, ImportError, SystemError, RecursionError) as error:
        # To raise its JSONDecodeError the scanner wants the module `json.decoder`, which nobody has
        # imported: Python 3.11 then returns without any error, which is a SystemError, and later
        # ones raise ImportError (Modules/_json.c, raise_errmsg).
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise JsonInvalid(reason) from None
    return document


def loads(data: bytes) -> Json:
    """The one JSON document that `data` holds, in UTF-8. Raises `JsonInvalid`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise JsonInvalid(f"not UTF-8 at byte {error.start}") from None
    document, end = scan(text, 0)
    if text[end:].strip(WHITESPACE):
        raise JsonInvalid(f"more text behind the document, at character {end}")
    return document


def dumps(document: Json) -> str:
    """`document` as JSON in ASCII, so that any string can be written, also a lone surrogate."""
    return "".join(_encode(document, 0))
