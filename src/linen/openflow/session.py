# SPDX-License-Identifier: Apache-2.0
"""A connection to an OVS bridge's OpenFlow socket that is kept up, with a copy of its rules.

`run` connects, asks for all rules and for all changes that others make (a flow monitor), and
starts again whenever the connection ends. ovs-vswitchd loses all rules when it restarts, and its
end is the connection's, so whoever looks at the rules after each call of `on_change` has them back
at once.
`apply` changes rules, all or none of them.
`visit` is for who needs a bridge only now and then: each connection is work for ovs-vswitchd, which
looks at all of them once for every handful of packets that it switches in userspace.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING

from linen import streams
from linen.core import errors
from linen.openflow import wire
from linen.openflow.table import Table
from linen.streams import LostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import NoReturn

    from linen.openflow.table import Changes

SILENCE = 5.0  # seconds, see `Session`
PATIENCE = 10.0  # seconds that changes may take; ten thousand nodes need one
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.1  # seconds between attempts: without rules no packet goes
REFUSED_PAUSE = 5.0  # seconds before a bridge is asked again that refused us


def socket_of(ovsdb: str, bridge: str) -> str:
    """The OpenFlow socket of an OVS bridge: Open vSwitch has all its sockets in one folder."""
    return str(PurePath(ovsdb).with_name(f"{bridge}.mgmt"))


class Session:
    """One connection at a time to the OpenFlow socket at `path`, while `run` runs.

    `on_change`: called when the rules are known after a new connection, when somebody else has
    changed one, and when the connection is lost or can't be made for a new reason. It should do no
    more than set an event.
    `silence`: seconds without a message before the bridge is asked for an echo, and as many again
    before it is given up.
    """

    def __init__(
        self, path: str, on_change: Callable[[], None], *, silence: float = SILENCE
    ) -> None:
        self.path = path
        self.table = Table()
        self.problem = "not connected yet"  # why there is no connection, or why the last one ended
        self._on_change = on_change
        self._silence = silence
        self._connection: _Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether the bridge answers, so that `table` has its rules."""
        return self._connection is not None and self._connection.synchronized

    async def run(self) -> NoReturn:
        """Keep the connection up until cancelled."""
        failures = 0
        while True:
            was_connected, lost = await self._serve_one_connection()
            if was_connected or str(lost) != self.problem:
                self.problem = str(lost)
                self._on_change()
            failures = 0 if was_connected else failures + 1
            is_refused = isinstance(lost, _RefusedError)
            pause = streams.pause(failures, FIRST_PAUSE, LONGEST_PAUSE)
            await asyncio.sleep(REFUSED_PAUSE if is_refused else pause)

    async def apply(self, changes: Changes, *, seconds: float = PATIENCE) -> None:
        """Carry out all changes or none; `table` has them then.

        Raises `OvsRefused` where the bridge does not want one of them, and `Unavailable` where
        there is no connection, it is lost, or no answer comes within `seconds`. The changes may
        then have been carried out or not: the next connection tells.
        """
        connection = self._connection
        if connection is None or not connection.synchronized:
            raise self.unavailable()
        try:
            async with asyncio.timeout(seconds):
                await connection.apply(changes)
        except TimeoutError:
            connection.abort()
            raise self.unavailable("no answer in time") from None
        except _RefusedError as refused:
            raise errors.OvsRefused(f"OVS bridge {self.path} refuses rules: {refused}") from None
        except LostError as lost:
            raise self.unavailable(f"no answer: {lost}") from None

    async def _serve_one_connection(self) -> tuple[bool, LostError]:
        """Connect and follow the bridge while it is there; whether that worked, why it ended."""
        try:
            reader, writer = await streams.connect(self.path, self._silence)
        except LostError as lost:
            return False, lost
        self.table = Table()
        connection = self._connection = _Connection(writer, self.table, self._on_change)
        reason = LostError("the session was ended")
        try:
            await connection.follow(reader, self._silence)
        except LostError as lost:
            reason = lost
        finally:
            self._connection = None
            connection.abort()
            connection.give_up(reason)
        return connection.synchronized, reason

    def unavailable(self, reason: str = "") -> errors.Unavailable:
        """The error that says so. `reason`: if it is another than why there is no connection."""
        return errors.Unavailable(
            f"the OVS bridge's OpenFlow socket {self.path} is not available:"
            f" {reason or self.problem}"
        )


@asynccontextmanager
async def visit(path: str, *, seconds: float = PATIENCE) -> AsyncIterator[Session]:
    """A session that is connected, for as long as the block lasts.

    Raises `Unavailable` where the bridge does not answer within `seconds`.
    """
    news = asyncio.Event()
    session = Session(path, news.set)
    connection = asyncio.create_task(session.run())
    try:
        await _until_connected(session, news, seconds)
        yield session
    finally:
        connection.cancel()
        await asyncio.wait([connection])


async def _until_connected(session: Session, news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not session.connected:
                await news.wait()
                news.clear()
    except TimeoutError:
        raise session.unavailable() from None


class _RefusedError(LostError):
    """The bridge is there and does not want what we ask of it."""


class _Connection:
    """One connection, from its first byte to its last. Messages are dealt with in their order."""

    def __init__(
        self, writer: asyncio.StreamWriter, table: Table, on_change: Callable[[], None]
    ) -> None:
        self.synchronized = False
        self._writer = writer
        self._table = table
        self._on_change = on_change
        self._inbox = wire.Inbox()
        self._sent = 0
        self._calls: dict[int, tuple[Changes, asyncio.Future[None]]] = {}

    async def follow(self, reader: asyncio.StreamReader, silence: float) -> NoReturn:
        """Ask for the rules, and deal with all that comes. Raises `LostError` at the end."""
        # Both at once: a switch that speaks our version answers the second, another the first.
        self._writer.write(wire.hello(self._next()) + wire.monitor(self._next()))
        await streams.listen(
            reader, silence, receive=self._receive, probe=self._probe, peer="the OVS bridge"
        )

    async def apply(self, changes: Changes) -> None:
        """Send the changes as one bundle, and wait for the answer. Raises `LostError`."""
        number = self._next()
        done = asyncio.get_running_loop().create_future()
        self._calls[number] = changes, done
        self._writer.write(wire.bundle(number, changes.add, changes.delete))
        try:
            await done
        finally:
            self._calls.pop(number, None)

    def abort(self) -> None:
        """Close the connection at once; `follow` ends by it."""
        self._writer.transport.abort()

    def give_up(self, reason: LostError) -> None:
        """Tell all who still wait that no answer will come."""
        for _, done in self._calls.values():
            if not done.done():
                done.set_exception(reason)

    def _probe(self) -> None:
        self._writer.write(wire.message(wire.ECHO_REQUEST, self._next()))

    def _next(self) -> int:
        self._sent += 1
        return self._sent

    def _receive(self, data: bytes) -> bool:
        """Deal with the messages that `data` completes; any data shows that the bridge lives."""
        changed = False
        try:
            for message in self._inbox.feed(data):
                changed = self._handle(message) or changed
        except (wire.ProtocolError, struct.error, IndexError) as error:
            raise LostError(f"what answers is no OpenFlow switch ({error})") from None
        if changed:
            self._on_change()
        return True

    def _handle(self, message: wire.Message) -> bool:
        """Deal with one message; whether there is news of the rules."""
        match message.type:
            case wire.ECHO_REQUEST:
                echo = wire.message(wire.ECHO_REPLY, message.transaction, message.body)
                self._writer.write(echo)
            case wire.MULTIPART_REPLY:
                return self._take_rules(message)
            case wire.BUNDLE_CONTROL if wire.is_committed(message.body):
                self._take_result(message.transaction)
            case wire.ECHO_REPLY if message.transaction in self._calls:
                # Open vSwitch would carry out a bundle without the messages that it refused, so
                # this comes only when it has refused none.
                self._writer.write(wire.commit(message.transaction))
            case wire.ERROR:
                raise _RefusedError(wire.error(message.body))
        return False

    def _take_rules(self, message: wire.Message) -> bool:
        changed = self._table.take(wire.events(message.body))
        if self.synchronized:
            return changed
        self.synchronized = not wire.more_follow(message.body)
        return self.synchronized

    def _take_result(self, transaction: int) -> None:
        """A bundle was carried out. What comes behind this message already builds on it."""
        changes, done = self._calls.pop(transaction, (None, None))
        if changes is not None and done is not None:
            self._table.carried_out(changes)
            if not done.done():
                done.set_result(None)
