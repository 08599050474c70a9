# SPDX-License-Identifier: Apache-2.0
"""Our OVSDB client against the real server, with the official library as the oracle."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ovs.db.idl
import ovs.poller
import pytest

from contract.conftest import running_server
from linen.core import desired, errors, model, transaction
from linen.core.plan import Plan
from linen.core.planner import difference
from linen.host.inventory import read_inventory
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection, TransactionError
from support.host import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator


SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def replica(ovsdb: str) -> ovs.db.idl.Idl:
    """The database as the official library sees it."""
    helper = ovs.db.idl.SchemaHelper(SCHEMA)
    helper.register_all()
    idl = ovs.db.idl.Idl(f"unix:{ovsdb}", helper)
    deadline = time.monotonic() + PATIENCE
    while not idl.has_ever_connected():
        assert time.monotonic() < deadline
        idl.run()
        if not idl.has_ever_connected():
            poller = ovs.poller.Poller()
            idl.wait(poller)
            poller.timer_wait(1000)
            poller.block()
    return idl


def test_official_library_reads_what_we_write(ovsdb: str) -> None:
    """What a plan writes means to Open vSwitch's own library what it means to us."""
    options = model.OverlayOptions(
        vteps=["10.0.0.1", "fd00::1"], vni=7, stp="rstp", controllers=["tcp:10.9.9.1:6653"]
    )
    spec = desired.overlay_spec(options, network="blue", maker="plugin", mtu=1400)
    nothing = model.Observed(None, [])
    with Connection(ovsdb, Deadline(10)) as connection:
        connection.transact(transaction.operations(Plan(spec, nothing, difference(spec, nothing))))

    with contextlib.closing(replica(ovsdb)) as idl:
        (bridge,) = idl.tables["Bridge"].rows.values()

    assert (bridge.name, bridge.fail_mode, bridge.rstp_enable) == ("br0", ["standalone"], True)
    assert [row.target for row in bridge.controller] == ["tcp:10.9.9.1:6653"]
    assert bridge.external_ids["linen-network"] == "blue"
    interfaces = {port.name: port.interfaces[0] for port in bridge.ports}
    assert interfaces.pop("br0").mtu_request == [1400]
    assert sorted(row.options["remote_ip"] for row in interfaces.values()) == [
        "10.0.0.1",
        "fd00::1",
    ]
    assert {row.options["key"] for row in interfaces.values()} == {"7"}
    assert {row.type for row in interfaces.values()} == {"vxlan"}


def test_lost_race_is_told_apart(ovsdb: str) -> None:
    """Of two writers that read the same, the second is refused whole, and told to read again."""
    spec = desired.overlay_spec(model.OverlayOptions(), network="blue", maker="plugin")
    nothing = model.Observed(None, [])
    operations = transaction.operations(Plan(spec, nothing, difference(spec, nothing)))

    with Connection(ovsdb, Deadline(10)) as first, Connection(ovsdb, Deadline(10)) as second:
        first.transact(operations)
        with pytest.raises(TransactionError) as caught:
            second.transact(operations)
        (bridges,) = second.transact([{"op": "select", "table": "Bridge", "where": []}])

    assert caught.value.kind in transaction.RACE_LOST
    assert len(bridges["rows"]) == 1


def test_older_than_the_oldest(short_folder: Path) -> None:
    """An Open vSwitch that lacks what is asked for is refused in words that an administrator has.

    Not only by the plugin: `linenctl` reads all bridges at once.
    """
    older = json.loads(Path(SCHEMA).read_text())
    del older["tables"]["Bridge"]["columns"]["rstp_enable"]
    schema = short_folder / "older.ovsschema"
    schema.write_text(json.dumps(older))
    with (
        running_server(short_folder, schema) as server,
        Connection(str(server.socket), Deadline(10)) as connection,
        pytest.raises(errors.Unavailable, match=f"{server.socket} refuses.*rstp_enable") as caught,
    ):
        read_inventory(connection)

    assert f"Open vSwitch {model.OLDEST_OVS} or newer" in caught.value.details


@contextlib.contextmanager
def listener(path: Path, answer: bytes | None) -> Iterator[None]:
    """A server that accepts one connection and sends `answer`, then stays silent or hangs up."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        peers: list[socket.socket] = []

        def serve() -> None:
            peer, _ = server.accept()
            peers.append(peer)
            if answer is not None:
                peer.sendall(answer)
            if answer == b"":
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()
        for peer in peers:
            peer.close()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "no answer in time"),
        (b"", "hung up"),
        (b'[1] {"a": 1}', "no OVSDB server"),
        (b"\xff\xfe}", "no OVSDB server"),
        (b'{"id": 1, "result": null, "error": "unknown database"}', "unknown database"),
    ],
)
def test_server_that_is_none(short_folder: Path, answer: bytes | None, text: str) -> None:
    """Whatever answers in the server's place, the error names the socket's path, and in time."""
    path = short_folder / "db.sock"
    started = time.monotonic()

    with (
        listener(path, answer),
        pytest.raises(errors.Unavailable, match=str(path)) as caught,
        Connection(str(path), Deadline(0.5 if answer is None else PATIENCE)) as connection,
    ):
        connection.transact([])

    assert re.search(text, caught.value.message)
    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("kind", ["absent", "file", "no listener"])
def test_no_server(short_folder: Path, kind: str) -> None:
    """Where nobody listens the error is there at once and names the socket's path."""
    path = short_folder / "db.sock"
    if kind == "file":
        path.write_text("")
    if kind == "no listener":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))

    with pytest.raises(errors.Unavailable, match=str(path)):
        Connection(str(path), Deadline(5))


def test_full_backlog_ends_at_the_deadline(short_folder: Path) -> None:
    """A server that accepts nobody keeps us until the deadline, not longer."""
    path = short_folder / "db.sock"
    with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as stack:
        server.bind(str(path))
        server.listen(0)
        for _ in range(2):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(path))

        with pytest.raises(errors.Unavailable, match="no answer in time"):
            Connection(str(path), Deadline(0.3))
