# SPDX-License-Identifier: Apache-2.0
"""OVSDB's JSON-RPC (RFC 7047, section 4) without I/O: bytes to messages and messages to bytes.

The blocking shell of the plugin and the asyncio shell of the daemon both drive this file.
"""

from __future__ import annotations

from linen.light import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import TypeVar

    from linen.light.json import Json

    Learned = TypeVar("Learned")

DATABASE = "Open_vSwitch"


class ProtocolError(Exception):
    """The peer sent what no OVSDB server sends."""


def request(number: int, method: str, params: Sequence[Json]) -> bytes:
    """One call, whose reply will carry `number`."""
    message = {"id": number, "method": method, "params": list(params)}
    return json.dumps(message).encode()


def transact(number: int, operations: Sequence[Json]) -> bytes:
    """The call of one transaction on the Open_vSwitch database."""
    return request(number, "transact", [DATABASE, *operations])


def echo_reply(message: Json) -> bytes:
    """The answer that keeps the server from dropping us as inactive."""
    reply = {"id": message.get("id"), "result": message.get("params"), "error": None}
    return json.dumps(reply).encode()


def converse(
    conversation: Generator[list[Json], list[Json], Learned],
    answer: Callable[[list[Json]], list[Json]],
) -> Learned:
    """Carry a conversation of the core (operations out, results in) to its end."""
    try:
        operations = next(conversation)
        while True:
            operations = conversation.send(answer(operations))
    except StopIteration as stop:
        learned: Learned = stop.value
        return learned


class Inbox:
    """Bytes in, whole messages out, whatever the pieces that they come in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Json]:
        """The messages that `data` completes.

        They have no delimiter, so a message can only be complete where a piece ends in a brace; a
        second, incomplete one behind it is kept. Raises `ProtocolError` for a message that is no
        object.
        """
        self._pieces.append(data)
        if data[-1:] != b"}":
            return
        try:
            text = b"".join(self._pieces).decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"not UTF-8: {error.reason}") from None
        start = 0
        while start < len(text):
            try:
                message, start = json.scan(text, start)
            except json.JsonInvalid:
                break
            if not isinstance(message, dict):
                raise ProtocolError(f"not an object: {text[:80]!r}")
            yield message
        self._pieces = [text[start:].encode()] if start < len(text) else []
