# SPDX-License-Identifier: Apache-2.0
"""A connection to OVSDB for a program that lives for months: kept up, with a replica, in asyncio.

`run` connects, copies the columns that were asked for, follows the server's updates, and starts
again whenever the connection is lost or the server falls silent. Meanwhile `transact` fails at
once, or at its deadline at the latest, with an `Unavailable` that names the socket's path.
ovsdb-server sends the update that a transaction causes before the transaction's results
(ovsdb-server(7), 4.1.6), so whoever has awaited `transact` finds its effect in the replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
from typing import TYPE_CHECKING

from linen import streams
from linen.core import errors
from linen.ovsdb import wire
from linen.ovsdb.blocking import START_OVS, checked
from linen.ovsdb.replica import Replica
from linen.streams import LostError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from typing import NoReturn

    from linen.light.json import Json

SILENCE = 5.0  # seconds, see `Session`
PATIENCE = 5.0  # seconds that a caller waits for results, unless it says otherwise
FIRST_PAUSE, LONGEST_PAUSE = 0.04, 0.5  # seconds between two attempts to connect
STEADY = 1.0  # seconds after which a connection counts as one that worked

# How to ask for updates, the best first. A third form, monitor_cond_since, resumes where an earlier
# connection ended, but only clustered databases keep the history that it takes.
MONITORS = ("monitor_cond", "monitor")
UPDATES = ("update", "update2")
LOCK_NEWS = ("locked", "stolen")
UNKNOWN_METHOD = "unknown method"
NO_SERVER = "what answers is no OVSDB server"


class Session:
    """One connection at a time to the server at the unix socket `path`, while `run` runs.

    `columns`: for each table those that the replica copies, see `replica.columns_read_by`.
    `on_change`: called when the replica is complete after a new connection, after each batch of
    updates to it, and when the connection is lost or can't be made for a new reason. It should do
    no more than set an event.
    `lock`: a lock of the server that is held, or waited for, while there is a connection (RFC 7047,
    section 4.1.8). Of several programs that ask for the same one writes, until it ends.
    `presence`: another one, by which others see that at least one such program is there.
    `silence`: seconds without a message before the server is asked for an echo, and as many again
    before it is given up.
    """

    def __init__(
        self,
        path: str,
        columns: Mapping[str, Collection[str]],
        on_change: Callable[[], None],
        *,
        lock: str = "",
        presence: str = "",
        silence: float = SILENCE,
    ) -> None:
        self.path = path
        self.replica = Replica(columns)
        self.losses = 0  # connections that worked and have ended
        self.problem = "not connected yet"  # why there is no connection, or why the last one ended
        self._on_change = on_change
        self._lock = lock
        self._presence = presence
        self._silence = silence
        self._connection: _Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether the server answers, so that the replica is what the server has.

        Otherwise the replica is what it was when the connection was lost.
        """
        return self._connection is not None and self._connection.synchronized

    @property
    def may_write(self) -> bool:
        """Whether `transact` can succeed: there is a connection, and it has the lock."""
        connection = self._connection
        if connection is None or not connection.synchronized:
            return False
        return not self._lock or connection.has_lock

    async def run(self) -> NoReturn:
        """Keep the connection up until cancelled.

        Raises `FolderRemoved` where the socket's was, so that there can be none any more.
        """
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            started = clock()
            was_connected, reason = await self._serve_one_connection()
            self.losses += was_connected
            if was_connected or reason != self.problem:
                self.problem = reason
                self._on_change()
            failures = 0 if was_connected and clock() - started > STEADY else failures + 1
            await asyncio.sleep(streams.pause(failures, FIRST_PAUSE, LONGEST_PAUSE))

    async def transact(
        self, operations: Sequence[Json], *, seconds: float = PATIENCE
    ) -> list[Json]:
        """The results of one transaction, whose effects the replica has by then.

        Raises `TransactionError` where OVSDB refuses it, as it does when another has the lock, and
        `Unavailable` where there is no connection, it is lost, or no answer comes within `seconds`.
        In the last two cases the transaction may have taken place, or may yet: look at the replica
        of the next connection.
        """
        connection = self._connection
        if connection is None or not connection.synchronized:
            raise self._unavailable(self.problem)
        condition = [{"op": "assert", "lock": self._lock}] if self._lock else []
        try:
            async with asyncio.timeout(seconds):
                reply = await connection.ask("transact", [wire.DATABASE, *condition, *operations])
        except TimeoutError:
            raise self._unavailable("no answer in time") from None
        except LostError as lost:
            raise self._unavailable(f"no answer: {lost}") from None
        if reply.get("error") is not None:
            raise self._unavailable(f"it answers {reply['error']}")
        results = reply.get("result")
        if not isinstance(results, list):
            raise self._unavailable(NO_SERVER)
        return checked(results)[len(condition) :]

    async def _serve_one_connection(self) -> tuple[bool, str]:
        """Connect and follow the server while it is there; whether that worked, why it ended."""
        try:
            reader, writer = await streams.connect(self.path, self._silence)
        except LostError as lost:
            streams.refuse_removed(self.path.rpartition("/")[0])
            return False, str(lost)
        connection = self._connection = _Connection(
            writer, self.replica, self._on_change, self._lock, self._presence
        )
        reason = "the session was ended"
        try:
            await connection.follow(reader, self._silence)
        except LostError as lost:
            reason = str(lost)
        finally:
            self._connection = None
            writer.transport.abort()
            connection.give_up(reason)
        return connection.synchronized, reason

    def _unavailable(self, reason: str) -> errors.Unavailable:
        return errors.Unavailable(f"OVSDB at {self.path} is not available: {reason}", START_OVS)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Spare the garbage collector from looking for cycles in rows, which have none.

    The first rows of 5,000 interfaces take 65 ms of CPU time so, and 130 ms otherwise.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Connection:
    """One connection, from its first byte to its last.

    The server's messages are dealt with in their order and at once: what comes behind the first
    rows, in the same piece, already refers to them.
    """

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        replica: Replica,
        on_change: Callable[[], None],
        lock: str,
        presence: str,
    ) -> None:
        self.synchronized = False
        self.has_lock = False
        self._writer = writer
        self._replica = replica
        self._on_change = on_change
        self._lock = lock
        self._presence = presence
        self._inbox = wire.Inbox()
        self._sent = 0
        self._steps: dict[int, Callable[[Json], None]] = {}
        self._calls: dict[int, asyncio.Future[Json]] = {}

    async def follow(self, reader: asyncio.StreamReader, silence: float) -> NoReturn:
        """Ask for the rows, and deal with all that comes. Raises `LostError` at the end."""
        self._step("get_schema", [wire.DATABASE], self._learn_schema)
        await streams.listen(
            reader, silence, receive=self._receive, probe=self._probe, peer="the server"
        )

    async def ask(self, method: str, params: list[Json]) -> Json:
        """The reply to a call. Raises `LostError`."""
        number = self._next()
        reply = self._calls[number] = asyncio.get_running_loop().create_future()
        self._writer.write(wire.request(number, method, params))
        try:
            return await reply
        finally:
            self._calls.pop(number, None)

    def give_up(self, reason: str) -> None:
        """Tell all who still wait that no answer will come."""
        for call in self._calls.values():
            if not call.done():
                call.set_exception(LostError(reason))

    def _probe(self) -> None:
        self._writer.write(wire.request(self._next(), "echo", []))

    def _next(self) -> int:
        self._sent += 1
        return self._sent

    def _step(self, method: str, params: Sequence[Json], then: Callable[[Json], None]) -> None:
        """Call `method`, and `then` with its result, before any later message is dealt with."""
        number = self._next()
        self._steps[number] = then
        self._writer.write(wire.request(number, method, params))

    def _learn_schema(self, reply: Json) -> None:
        self._replica.learn(_result(reply))
        if self._lock:  # before the rows, so that these have all that an earlier owner wrote
            self._step("lock", [self._lock], self._take_lock)
        if self._presence:
            self._step("lock", [self._presence], lambda _: None)
        self._monitor(*MONITORS)

    def _take_lock(self, reply: Json) -> None:
        self.has_lock = _result(reply)["locked"]

    def _monitor(self, method: str, *others: str) -> None:
        """Ask for the rows and for updates, by the first of these methods that the server knows."""
        wanted = {
            table: [{"columns": sorted(columns)}]
            for table, columns in self._replica.columns.items()
        }
        then = functools.partial(self._load, others)
        self._step(method, [wire.DATABASE, "replica", wanted], then)

    def _load(self, other_methods: tuple[str, ...], reply: Json) -> None:
        if reply.get("error") == UNKNOWN_METHOD and other_methods:
            self._monitor(*other_methods)
            return
        self._replica.replace(_result(reply))
        self.synchronized = True

    def _receive(self, data: bytes) -> bool:
        """Deal with the messages that `data` completes; whether it completes any."""
        handled = changed = False
        try:
            with _no_collection():
                for message in self._inbox.feed(data):
                    changed = self._handle(message) or changed
                    handled = True
        except wire.ProtocolError as error:
            raise LostError(f"{NO_SERVER} ({error})") from None
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise LostError(f"{NO_SERVER} (senseless message: {error!r})") from None
        if changed:
            self._on_change()
        return handled

    def _handle(self, message: Json) -> bool:
        """Deal with one message; whether the replica has changed."""
        method = message.get("method")
        if method == "echo":
            self._writer.write(wire.echo_reply(message))
        elif method in UPDATES:
            self._replica.apply(message["params"][1])
            return True
        elif method in LOCK_NEWS and message["params"] == [self._lock]:
            self.has_lock = method == "locked"
            return self.synchronized
        elif method is None:
            return self._take_reply(message)
        return False

    def _take_reply(self, message: Json) -> bool:
        number = message.get("id")
        if step := self._steps.pop(number, None):
            step(message)
            return self.synchronized
        call = self._calls.get(number)
        if call is not None and not call.done():
            call.set_result(message)
        return False


def _result(reply: Json) -> Json:
    """What a step asked for."""
    if reply.get("error") is not None:
        raise wire.ProtocolError(f"it answers {reply['error']}")
    return reply["result"]
