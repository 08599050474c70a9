# SPDX-License-Identifier: Apache-2.0
"""What a pod may do to the flaxd of its own node, and how that goes on nevertheless."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from linen.flaxd import icmp
from support.daemons import Flaxd, running_flaxd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.host import Host

GATEWAY = "10.244.1.1"
PODS = ("10.244.1.10", "10.244.1.11", "10.244.1.12", "10.244.1.13")
OTHER_POD = "10.244.1.14"
NETWORK = f"""
ip link add kbr0 type bridge
ip address add {GATEWAY}/16 dev kbr0
ip link set kbr0 up
ip netns add pod
ip link add veth0 master kbr0 type veth peer name eth0 netns pod
ip link set veth0 up
ip -n pod link set eth0 up
"""

HOLD = """
import socket, sys
host, port, number, *sources = sys.argv[1:]
held = [
    socket.create_connection((host, int(port)), source_address=(source, 0))
    for source in sources for _ in range(int(number))
]
print("held", flush=True)
sys.stdin.read()
"""
ASK = """
import http.client, sys
host, port, source = sys.argv[1:]
asked = http.client.HTTPConnection(host, int(port), timeout=5, source_address=(source, 0))
asked.request("GET", "/healthz")
print(asked.getresponse().status)
"""


IN_POD = ("ip", "netns", "exec", "pod")
PYTHON = (sys.executable, "-I", "-c")


@pytest.fixture
def exposed(node1: Host, settings: dict[str, Any]) -> Iterator[Flaxd]:
    """Node1's daemon, which listens at all addresses, and a pod with several."""
    for line in NETWORK.strip().splitlines():
        node1.run(*line.split())
    for address in (*PODS, OTHER_POD):
        node1.run("ip", "-n", "pod", "address", "add", f"{address}/16", "dev", "eth0")
    with running_flaxd(node1, **settings, listen="0.0.0.0:0") as daemon:
        daemon.wait_for("the overlay works")
        yield daemon


def port(daemon: Flaxd) -> str:
    return daemon.log.split("serving http://0.0.0.0:")[-1].split()[0]


@contextlib.contextmanager
def held(daemon: Flaxd, number: int, sources: Sequence[str]) -> Iterator[None]:
    """The pod opens so many connections to flaxd from each of these addresses, and says nothing."""
    argv = [*IN_POD, *PYTHON, HOLD, GATEWAY, port(daemon), str(number), *sources]
    with daemon.host.start(*argv) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.stdin.close()


def asking(daemon: Flaxd, source: str) -> list[str]:
    """The command that asks flaxd from an address, and prints the status of the answer."""
    return [*PYTHON, ASK, GATEWAY, port(daemon), source]


def is_answered(daemon: Flaxd, source: str) -> bool:
    """Whether the pod gets an answer at this address of its own."""
    return daemon.host.run(*IN_POD, *asking(daemon, source), check=False).stdout == "200\n"


def test_pod_that_holds_connections(exposed: Flaxd) -> None:
    """An address that holds all connections that it gets leaves others theirs, and kubelet its."""
    with held(exposed, 40, PODS[:1]):
        assert not is_answered(exposed, PODS[0])
        assert is_answered(exposed, PODS[1])
        assert exposed.get("/healthz")[0] == 200


def test_pods_that_hold_all_connections(exposed: Flaxd) -> None:
    """However many addresses hold connections, the node itself gets an answer at all its own."""
    with held(exposed, 10, PODS):
        assert not is_answered(exposed, OTHER_POD)
        assert exposed.get("/healthz")[0] == 200
        own = exposed.host.run(*asking(exposed, GATEWAY))
        assert own.stdout == "200\n"


def test_replies_that_never_end() -> None:
    """One look takes in a bounded number of replies, also where each brings another about."""
    echo = icmp.EchoSocket("127.0.0.1")
    try:
        echo.send("127.0.0.1", b"0123456789abcdef")
        for number, _ in enumerate(echo.replies()):
            assert number < 1000
            echo.send("127.0.0.1", b"0123456789abcdef")
    finally:
        echo.close()
