# SPDX-License-Identifier: Apache-2.0
"""Asks an interpreter to do what the plugin may meet, hostile input above all.

test_interpreter.py runs it in the plugin's place, frozen and plain. Each line of the output is an
attempt and what came of it.
"""

from __future__ import annotations

import errno
import posix
import select
import sys
import time
from _json import encode_basestring_ascii, scanstring
from _socket import AF_INET6, inet_pton
from _struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def attempt(name: str, function: Callable[[], object]) -> None:
    """Print what `function` returns, or which exception it raises."""
    try:
        outcome = repr(function())
    except Exception as error:  # noqa: BLE001 (whatever comes is what we want to know)
        outcome = type(error).__name__  # the wording may differ
    posix.write(1, f"{name}: {outcome}\n".encode("utf-8", "backslashreplace"))


def import_missing_name() -> str | None:
    """Name the module that lacks the name; the whole message would tell its path."""
    try:
        from linen.plugin import nothing  # type: ignore[attr-defined]  # noqa: F401, PLC0415
    except ImportError as error:
        return error.name
    return "found"


def recurse() -> None:
    """Raise RecursionError."""
    recurse()


def use_memory() -> int:
    """Use more than an image has to give, in pieces of all sizes that come, grow and go."""
    texts = [str(number) * (number % 40) for number in range(60_000)]
    del texts[::2]
    grown = [bytearray(b"x") for _ in range(50)]
    for size in range(0, 4_000, 7):
        for piece in grown:
            piece.extend(b"%d" % size)
    texts += [str(number) * (number % 90) for number in range(60_000)]
    return hash(sum(map(len, texts)) + sum(map(sum, grown)))


def run() -> int:
    """Make all attempts."""
    attempt("module missing", lambda: __import__("linen.nothing"))
    attempt("name missing", import_missing_name)
    attempt("stat", lambda: posix.stat("/nothing\u00e9"))
    attempt("stat of bytes that are no UTF-8", lambda: posix.stat("/nothing\udcff"))
    attempt("stat with NUL", lambda: posix.stat("/nothing\0"))
    attempt("decode", b"\xff".decode)
    attempt("decode with backslashes", lambda: b"\xff".decode("utf-8", "backslashreplace"))
    attempt("decode with surrogates", lambda: b"\xff".decode("utf-8", "surrogateescape"))
    attempt("decode as ASCII", lambda: b"\xff".decode("ascii"))
    attempt("encode", "\udcff".encode)
    attempt("encode as ASCII", lambda: "\u00e9".encode("ascii"))
    attempt("encode as Latin-1", lambda: "\u20ac".encode("latin-1"))
    attempt("unknown error handler", lambda: b"\xff".decode("utf-8", "nothing"))
    attempt("too many digits to read", lambda: int("9" * 5000))
    attempt("too many digits to write", lambda: str(10**5000))
    attempt("limit of digits", sys.get_int_max_str_digits)
    attempt("no number", lambda: int("1\ud800"))
    attempt("infinite", lambda: float("1e999"))
    attempt("format", lambda: f"{1.5:.3f} {1 << 40:,} {'x'!r:>5} %s" % 1)
    attempt("recursion", recurse)
    attempt("environment", lambda: posix.environ[b"HOSTILE"])
    attempt("error text", lambda: posix.strerror(errno.ENOENT))
    attempt("clock", lambda: time.monotonic() > 0)
    attempt("poll", lambda: select.poll().poll(0))
    attempt("JSON string", lambda: scanstring('\\ud83d\\ude00"', 0))
    attempt("JSON escape", lambda: encode_basestring_ascii("\u20ac\udcff"))
    attempt("IPv6 address", lambda: inet_pton(AF_INET6, "fd00::1"))
    attempt("no IPv6 address", lambda: inet_pton(AF_INET6, "fd00::g"))
    attempt("packed", lambda: pack("!HI", 1, 2))
    attempt("sorted keys", lambda: sorted({"b": 1, "a": 2}))
    attempt("memory", use_memory)
    return 0
