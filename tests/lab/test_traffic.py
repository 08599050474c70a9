# SPDX-License-Identifier: Apache-2.0
"""What the overlay is for: every pod reaches every other, and every frame arrives once."""

from __future__ import annotations

import itertools
import json

import pytest

from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.labs import linenctl
from support.reach import MEGABYTE, send_stream
from support.vxlan import Listener, frame

ENOUGH = 5  # seconds for those who can answer, where a matrix waits in vain for others


@pytest.mark.datapath
def test_every_pod_reaches_every_other(overlay: Lab) -> None:
    """Every pod gets an answer from every other."""
    matrix = overlay.ping_matrix()

    assert matrix.losses == []
    assert matrix.pods == ("a", "b", "c")
    assert len(matrix.times) == 6


@pytest.mark.datapath
def test_a_broadcast_arrives_once(overlay: Lab) -> None:
    """A broadcast reaches each other pod exactly once: the overlay has no loop.

    Pings would not show one, since they are answered once however often they arrive.
    The counting ends with a second broadcast, which cannot overtake the first.
    """
    assert overlay.ping_matrix().complete
    for sender in overlay.pods():
        others = [Listener(pod) for pod in overlay.pods() if pod.name != sender.name]
        with Listener(sender) as source:
            assert source.copies(others) == [1, 1]
        for listener in others:
            listener.close()


def test_the_wire_falls_silent(overlay: Lab) -> None:
    """In the second after a broadcast has arrived no copy of it comes any more.

    A busy machine loses one now and then, so it is sent until one arrives.
    """
    sent = itertools.count()
    sender, receiver, _ = overlay.pods()
    with Listener(sender) as source, Listener(receiver) as sink:

        def send() -> None:
            next(sent)
            source.send(frame(b"silent"))

        arrived = 1 + len(sink.until(b"silent", send))
        assert arrived + sink.count(seconds=1) <= next(sent)


@pytest.mark.datapath
def test_a_stream_arrives_whole(overlay: Lab) -> None:
    """A megabyte of TCP crosses nodes unharmed: no checksum or segment is left to hardware."""
    server, client, _ = overlay.pods()

    assert send_stream(client, server, str(server.addresses[0])) == MEGABYTE


@pytest.mark.datapath
def test_cut_and_heal(overlay: Lab) -> None:
    """A node that is cut off is lost to the others and to no one else; healed, it is back."""
    assert overlay.ping_matrix().complete

    overlay.cut("node2")
    during = overlay.ping_matrix(deadline=ENOUGH)
    overlay.heal("node2")
    after = overlay.ping_matrix()

    assert sorted(during.losses) == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    assert after.losses == []


def test_ping_matrix_tells_losses(overlay: Lab) -> None:
    """`ping-matrix` has exit status 0 when all answer, and 1 with the losses when not."""
    name = overlay.description.name
    whole = linenctl("lab", "ping-matrix", "--name", name, "--json")
    overlay.cut("node3")
    broken = linenctl("lab", "ping-matrix", "--name", name, "--json", "--deadline", str(ENOUGH))
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
        ping = ["lab", "ping-matrix", "--name", lab_name]
        lost = linenctl(*ping, "--deadline", "1")
        lab.add_pod("node1")
        found = linenctl(*ping)

    assert lost.returncode == 1
    assert "is made by its first ADD: linenctl lab add-pod node1" in lost.stderr
    assert found.returncode == 0, found
