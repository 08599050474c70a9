# SPDX-License-Identifier: Apache-2.0
"""How much a daemon writes to the API server, and how often it tries what is refused."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from linen.core.cluster import Peer
from linen.flaxd import node_writer
from linen.flaxd.kubernetes import KubernetesSource
from linen.kube import access, client, events, nodes
from linen.netlink.monitor import Monitor
from linen.settings.table import load
from support.host import wait_until
from support.kube_watches import run, watching_any
from support.kubernetes_nodes import ACCOUNT, address_of
from support.notices import Notice, running
from support.paths import CHECKOUT
from support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.control_plane import ControlPlane
    from support.kubernetes_nodes import KubernetesNode

WRONG_VALUES = 60
MOVES, MOST_MOVES = 60, 200
ROLE = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/linen-flaxd"
FAILED = "next attempt in"


def events_about(plane: ControlPlane, name: str) -> list[dict[str, Any]]:
    """All Events about a Node, and not those about an earlier one of its name."""
    uid = plane.node(name)["metadata"]["uid"]
    found = plane.request("GET", events.EVENTS, params={"limit": 0})["items"]
    return [event for event in found if event["regarding"].get("uid") == uid]


def test_a_node_that_is_wrong_in_ever_new_ways(node1: KubernetesNode) -> None:
    """However many texts a hostile Node makes up, no more than a burst of them become Events.

    The log names all, and says once that Events are left out.
    """
    plane = node1.plane
    plane.add_node("node2")
    with node1.flaxd() as daemon:
        daemon.wait_for("the overlay works")
        for number in range(WRONG_VALUES):
            plane.annotate("node2", vtep=f"wrong{number}")
            daemon.wait_for(f'"wrong{number}"')
        daemon.wait_for("Events of reason OverlayFault are left out")

        assert daemon.log.count("are left out") == 1
        reasons = [event["reason"] for event in events_about(plane, "node1")]
        assert reasons.count("OverlayFault") == events.BURST


@pytest.fixture
def recorder(plane: ControlPlane, tmp_path: Path) -> Path:
    """The kubeconfig of a recorder on node1."""
    plane.add_node("node1")
    token = tmp_path / "token"
    token.write_text(plane.request_token(ACCOUNT, "node1"))
    return plane.token_kubeconfig(token)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.now


def test_an_event_that_repeats(plane: ControlPlane, recorder: Path) -> None:
    """What happens again and again is one Event, whose count is written every five minutes."""

    def about_node1() -> list[dict[str, Any]]:
        return events_about(plane, "node1")

    async def body() -> None:
        own = nodes.parse_own(plane.node("node1"))
        assert own is not None
        clock = Clock()
        async with client.Client(access.load(recorder), "linen-tests") as api:
            emitter = events.Recorder(api, clock=clock)
            for _ in range(100):
                await emitter.emit(own, "Warning", "PeerInvalid", "node2 has no address")
                clock.now += timedelta(seconds=1)
            await emitter.emit(own, "Normal", "Joined", "the overlay works " + "é" * 1000)
            assert {(event["reason"], event.get("series") is None) for event in about_node1()} == {
                ("PeerInvalid", True),
                ("Joined", True),
            }

            clock.now += events.BETWEEN_WRITES
            await emitter.emit(own, "Warning", "PeerInvalid", "node2 has no address")
            (event,) = (event for event in about_node1() if event["reason"] == "PeerInvalid")
            assert event["series"]["count"] == 101
            assert (event["type"], event["note"]) == ("Warning", "node2 has no address")

            plane.request("DELETE", f"{events.EVENTS}/{event['metadata']['name']}")
            clock.now += events.BETWEEN_WRITES
            await emitter.emit(own, "Warning", "PeerInvalid", "node2 has no address")
            (again,) = (event for event in about_node1() if event["reason"] == "PeerInvalid")
            assert again["metadata"]["name"] != event["metadata"]["name"]

    run(body())


def test_one_more_event_after_a_while(plane: ControlPlane, recorder: Path) -> None:
    """After the burst there is one Event in five minutes, and each dry spell is told of once."""

    async def body() -> None:
        own = nodes.parse_own(plane.node("node1"))
        assert own is not None
        clock, told = Clock(), list[str]()
        async with client.Client(access.load(recorder), "linen-tests") as api:
            emitter = events.Recorder(api, told.append, clock)
            for number in range(events.BURST + 10):
                await emitter.emit(own, "Warning", "OverlayFault", f"fault {number}")
            assert len(events_about(plane, "node1")) == events.BURST
            assert told == ["OverlayFault"]

            clock.now += events.BETWEEN_WRITES
            for number in range(100, 110):
                await emitter.emit(own, "Warning", "OverlayFault", f"fault {number}")
            assert len(events_about(plane, "node1")) == events.BURST + 1
            assert told == ["OverlayFault"] * 2

    run(body())


def test_an_outage_among_many_faults(plane: ControlPlane, recorder: Path) -> None:
    """That the node's own network is down becomes an Event, whatever others had to tell."""

    async def body() -> None:
        own = nodes.parse_own(plane.node("node1"))
        assert own is not None
        async with client.Client(access.load(recorder), "linen-tests") as api:
            emitter = events.Recorder(api)
            for number in range(events.BURST + 10):
                await emitter.emit(own, "Warning", "OverlayFault", f"fault {number}")
            await emitter.emit(own, "Warning", "NetworkNotReady", "ovs-vswitchd does not run")
            reasons = [event["reason"] for event in events_about(plane, "node1")]
            assert reasons.count("NetworkNotReady") == 1

    run(body())


def test_faults_that_take_turns(plane: ControlPlane, recorder: Path) -> None:
    """The counts of Events that come again are written no more often than new Events."""

    async def body() -> None:
        own = nodes.parse_own(plane.node("node1"))
        assert own is not None
        clock = Clock()
        async with client.Client(access.load(recorder), "linen-tests") as api:
            emitter = events.Recorder(api, clock=clock)
            for _ in range(3):
                for number in range(events.BURST):
                    await emitter.emit(own, "Warning", "OverlayFault", f"fault {number}")
                clock.now += events.BETWEEN_WRITES
            counted = [event.get("series") is not None for event in events_about(plane, "node1")]
            assert len(counted) == events.BURST
            assert 1 <= counted.count(True) <= 2  # one when the clock was first set on, one then

    run(body())


@contextmanager
def no_right_to_events(plane: ControlPlane) -> Iterator[None]:
    """Nobody's daemon may write Events while the block lasts."""
    review = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    where = {"group": "events.k8s.io", "resource": "events", "namespace": "default"}
    user = f"system:serviceaccount:{ACCOUNT.replace('/', ':')}"
    spec = {"user": user, "resourceAttributes": where | {"verb": "create"}}

    def may() -> bool:
        allowed: bool = plane.request("POST", review, {"spec": spec})["status"]["allowed"]
        return allowed

    plane.request("DELETE", ROLE)
    try:
        wait_until(lambda: not may(), "the right to end")
        yield
    finally:
        plane.apply(CHECKOUT / "deploy" / "base" / "rbac.yaml")
        wait_until(may, "the right to be there again")


def most_attempts(seconds: float) -> int:
    """How many attempts there can be in so many seconds, the first of them included."""
    attempts, pause = 1, 0.25  # half of the first pause: chance shortens each
    while seconds >= pause:
        attempts, seconds, pause = attempts + 1, seconds - pause, min(2 * pause, 15.0)
    return attempts


def move_node2(node1: KubernetesNode, is_enough: Callable[[], bool]) -> None:
    """Give node2 a new address `MOVES` times, and more often where that is not enough yet."""
    for number in range(MOST_MOVES):
        if number >= MOVES and is_enough():
            return
        moved = f"node{20 + number}"
        node1.plane.annotate("node2", vtep=address_of(moved))
        node1.wait_for_peers(moved)


def test_refused_writes_among_much_news(node1: KubernetesNode) -> None:
    """What the API server refuses is tried when it is due, though news come all the time.

    These are taken in at once.
    """
    plane = node1.plane
    plane.add_node("node9", annotations={"linen-cni/vtep": "nonsense"})
    plane.add_node("node2")
    with no_right_to_events(plane):
        began = time.monotonic()
        with node1.flaxd() as daemon:
            daemon.wait_for(FAILED)
            move_node2(node1, lambda: daemon.log.count(FAILED) > 1)
            attempts, lasted = daemon.log.count(FAILED), time.monotonic() - began

        assert 1 < attempts <= most_attempts(lasted)


def test_a_server_that_is_back_is_written_to(
    plane: ControlPlane, recorder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written while the API server was away is, once it is there again."""
    monkeypatch.setattr(node_writer, "SHORTEST_PAUSE", 1000.0)
    monkeypatch.setattr(node_writer, "LONGEST_PAUSE", 1000.0)
    chosen = load({"node": "node1", "vtep-ip": "10.245.0.1"}, {}, None)
    fault = "a fault of which the API server could not be told"

    def is_told() -> bool:
        return fault in {event["note"] for event in events_about(plane, "node1")}

    async def body(relay: Relay) -> None:
        way = replace(access.load(recorder), url=f"https://127.0.0.1:{relay.port}")
        api = client.Client(way, "linen-tests")
        source = KubernetesSource(api, chosen, Monitor(lambda: None))
        seen, retry = Notice(), source._writer._retry
        async with api, running(source.run(lambda *_: seen())):
            await seen.until(lambda: seen.calls, "the Nodes")
            await asyncio.to_thread(relay.refuse)
            source.report((), (fault,))
            await asyncio.to_thread(wait_until, lambda: not retry.is_due, "a failure")
            assert not is_told()
            relay.accept()
            await asyncio.to_thread(wait_until, is_told, "the Event")

    with Relay(plane.port) as relay:
        run(body(relay))


def test_nothing_is_taken_back_at_a_start(plane: ControlPlane, recorder: Path) -> None:
    """What a Node says stays until its daemon knows what it should say, whatever else it reports.

    Otherwise each start of a daemon would cost its node its tunnels on all others.
    """
    chosen = load({"node": "node1", "vtep-ip": "10.245.0.1"}, {}, None)
    plane.annotate("node1", vtep="10.245.0.9")
    own = nodes.parse_own(plane.node("node1"))
    told: list[str | None] = []  # the addresses that the Node had, one after the other

    def note(found: Any, before: nodes.NodeRecord | None) -> nodes.NodeRecord | None:
        record = nodes.parse_record(found, before)
        told.append(record.peer.vtep if record and record.peer else None)
        return record

    async def body() -> None:
        api = client.Client(access.load(recorder), "linen-tests")
        async with (
            watching_any(plane.admin_kubeconfig(), note) as watched,
            api,
            asyncio.TaskGroup() as tasks,
        ):
            await watched.until_current()
            writer = node_writer.NodeWriter(api, chosen, lambda: own)
            writer.start(tasks)
            writer.report(("OVSDB is away",), ("a fault",))
            await api.get("/version")  # it could write meanwhile

            writer.consider(Peer("node1", "10.245.0.1"), own)
            await watched.until(lambda: told[-1] == "10.245.0.1", "the new address")
            assert set(told) == {"10.245.0.9", "10.245.0.1"}
            await writer.withdraw()

    run(body())
