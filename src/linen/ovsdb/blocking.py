# SPDX-License-Identifier: Apache-2.0
"""A connection to OVSDB for a program that lives for milliseconds: the plugin.

All waiting is bounded by one deadline. What goes wrong below is an `Unavailable` that names the
socket's path.
"""

from __future__ import annotations

from linen.core import errors
from linen.light import sock
from linen.ovsdb import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import TypeVar

    from linen.light.json import Json

    Learned = TypeVar("Learned")

START_OVS = (
    "start Open vSwitch (`systemctl start openvswitch-switch`), or set ovs.ovsdb to its socket"
)
NOT_ALLOWED = "run this as root, or as a user who may write to that socket"


class TransactionError(errors.LinenError):
    """OVSDB refused a transaction. `kind` is the name of the error as in RFC 7047, section 3.1."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(f"{kind}: {details}" if details else kind)
        self.kind = kind


def checked(results: list[Json]) -> list[Json]:
    """`results`, unless OVSDB refused one of the operations: then `TransactionError`."""
    for result in results:
        if result and "error" in result:
            raise TransactionError(result["error"], result.get("details", ""))
    return results


class Connection:
    """One connection to the server that listens on the unix socket `path`."""

    def __init__(self, path: str, deadline: sock.Deadline) -> None:
        self.path = path
        self.deadline = deadline
        self._inbox = wire.Inbox()
        self._replies: dict[int, Json] = {}
        self._sent = 0
        try:
            self._stream = sock.Stream(path, deadline)
        except TimeoutError:
            raise self._no_answer() from None
        except PermissionError as error:
            raise self._unavailable(error.strerror or str(error), NOT_ALLOWED) from None
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. The plugin does without: it ends instead."""
        self._stream.close()

    def transact(self, operations: Sequence[Json]) -> list[Json]:
        """The results of one transaction.

        Raises `TransactionError` where OVSDB refuses it, `Unavailable` where it is silent.
        """
        return self._results(self._call(wire.transact(self._next(), operations)))

    def is_held(self, lock: str) -> bool:
        """Whether somebody else has a lock of the server."""
        calls = wire.request(self._next(), "lock", [lock])
        asked = self._sent
        self._call(calls + wire.request(self._next(), "unlock", [lock]))
        return not (self._replies[asked].get("result") or {}).get("locked")

    def converse(self, conversation: Generator[list[Json], list[Json], Learned]) -> Learned:
        """Carry a conversation of the core (operations out, results in) to its end."""
        return wire.converse(conversation, self.transact)

    def _next(self) -> int:
        self._sent += 1
        return self._sent

    def _call(self, calls: bytes) -> Json:
        """Send `calls` and return the reply to the last of them."""
        try:
            self._stream.send(calls)
            while self._sent not in self._replies:
                self._receive()
        except TimeoutError:
            raise self._no_answer() from None
        except ConnectionError:
            raise self._unavailable("the server hung up") from None
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from None
        except wire.ProtocolError as error:
            raise self._unavailable(f"what answers is no OVSDB server ({error})") from None
        return self._replies.pop(self._sent)

    def _receive(self) -> None:
        data = self._stream.receive()
        if not data:
            raise self._unavailable("the server hung up")
        for message in self._inbox.feed(data):
            if message.get("method") == "echo":
                self._stream.send(wire.echo_reply(message))
            elif "method" not in message:
                self._replies[message.get("id")] = message

    def _results(self, reply: Json) -> list[Json]:
        if reply.get("error") is not None:
            raise self._unavailable(f"it answers {reply['error']}")
        return checked(reply["result"])

    def _no_answer(self) -> errors.Unavailable:
        return self._unavailable("no answer in time")

    def _unavailable(self, reason: str, remedy: str = START_OVS) -> errors.Unavailable:
        return errors.Unavailable(f"OVSDB at {self.path} is not available: {reason}", remedy)
