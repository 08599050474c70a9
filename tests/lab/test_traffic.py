# SPDX-License-Identifier: Apache-2.0
"""What the overlay is for: every pod reaches every other, and every frame arrives once."""

from __future__ import annotations

import json
import selectors
import socket
import time
from typing import TYPE_CHECKING

from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.labs import linenctl
from support.reach import MEGABYTE, send_stream

if TYPE_CHECKING:
    from linen.lab.pods import Pod

BROADCAST = b"\xff" * 6
# A type for local experiments (IEEE 802), which nothing else on the wire has.
ETHERTYPE = 0x88B5
DEADLINE = 20  # seconds


def open_raw_socket(pod: Pod) -> socket.socket:
    """A socket that sends and receives whole frames of our type at the pod's eth0."""
    raw = pod.node.open_pod_socket(
        pod.name, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)
    )
    raw.bind(("eth0", ETHERTYPE))
    raw.settimeout(DEADLINE)
    return raw


def broadcast(raw: socket.socket, payload: bytes) -> None:
    """Send one broadcast frame."""
    source: bytes = raw.getsockname()[4]
    raw.send(BROADCAST + source + ETHERTYPE.to_bytes(2, "big") + payload.ljust(46, b"\0"))


def count_until(raw: socket.socket, payload: bytes, end: bytes) -> int:
    """Count the frames with `payload` until one with `end` arrives."""
    count = 0
    while True:
        frame = raw.recv(2048)
        received = frame[14:].rstrip(b"\0")
        if received == end:
            return count
        count += received == payload


def test_every_pod_reaches_every_other(overlay: Lab) -> None:
    """Every pod gets an answer from every other."""
    matrix = overlay.ping_matrix()

    assert matrix.losses == []
    assert matrix.pods == ("a", "b", "c")
    assert len(matrix.times) == 6


def test_a_broadcast_arrives_once(overlay: Lab) -> None:
    """A broadcast reaches each other pod exactly once: the overlay has no loop.

    Pings would not show one, since they are answered once however often they arrive.
    The counting ends with a second broadcast, which cannot overtake the first.
    """
    overlay.ping_matrix()
    for sender in overlay.pods():
        others = [pod for pod in overlay.pods() if pod.name != sender.name]
        sockets = [open_raw_socket(pod) for pod in others]
        with open_raw_socket(sender) as source:
            broadcast(source, b"once")
            broadcast(source, b"end")
            counts = [count_until(raw, b"once", b"end") for raw in sockets]
        for raw in sockets:
            raw.close()

        assert counts == [1, 1]


def test_the_wire_falls_silent(overlay: Lab) -> None:
    """A second after a broadcast no copy of it is under way any more."""
    sender, receiver, _ = overlay.pods()
    with open_raw_socket(sender) as source, open_raw_socket(receiver) as sink:
        broadcast(source, b"silent")
        assert count_frames(sink, seconds=1) == 1


def count_frames(raw: socket.socket, seconds: float) -> int:
    """Count all frames of our type that arrive in a given time."""
    end = time.monotonic() + seconds
    count = 0
    with selectors.DefaultSelector() as selector:
        selector.register(raw, selectors.EVENT_READ)
        while selector.select(max(0, end - time.monotonic())):
            raw.recv(2048)
            count += 1
    return count


def test_a_stream_arrives_whole(overlay: Lab) -> None:
    """A megabyte of TCP crosses nodes unharmed: no checksum or segment is left to hardware."""
    server, client, _ = overlay.pods()

    assert send_stream(client, server, str(server.addresses[0])) == MEGABYTE


def test_cut_and_heal(overlay: Lab) -> None:
    """A node that is cut off is lost to the others and to no one else; healed, it is back."""
    overlay.ping_matrix()

    overlay.cut("node2")
    during = overlay.ping_matrix(deadline=2)
    overlay.heal("node2")
    after = overlay.ping_matrix()

    assert sorted(during.losses) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    assert after.losses == []


def test_ping_matrix_tells_losses(overlay: Lab) -> None:
    """`ping-matrix` has exit status 0 when all answer, and 1 with the losses when not."""
    name = overlay.description.name
    whole = linenctl("lab", "ping-matrix", "--name", name, "--json")
    overlay.cut("node3")
    broken = linenctl("lab", "ping-matrix", "--name", name, "--json", "--deadline", "1")
    overlay.heal("node3")

    assert whole.returncode == 0, whole
    assert json.loads(whole.stdout)["complete"] is True
    assert broken.returncode == 1, broken
    times = json.loads(broken.stdout)["milliseconds"]
    assert times["a"]["c"] is None
    assert times["a"]["b"] > 0


def test_a_star_without_its_master(lab_name: str) -> None:
    """Where pods are lost since the star's master has no bridge yet, `ping-matrix` says so."""
    with Lab.started(describe(3, name=lab_name)) as lab:
        lab.add_pod("node2")
        lab.add_pod("node3")
        ping = ["lab", "ping-matrix", "--name", lab_name, "--deadline", "1"]
        lost = linenctl(*ping)
        lab.add_pod("node1")
        found = linenctl(*ping)

    assert lost.returncode == 1
    assert "is made by its first ADD: linenctl lab add-pod node1" in lost.stderr
    assert found.returncode == 0, found
