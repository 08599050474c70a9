# SPDX-License-Identifier: Apache-2.0
"""The probe with real packets: a host, and a second one whose gateway it asks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.host import Host

PROGRAM = Path(__file__).parents[1] / "support" / "probing.py"
OWN4, OWN6 = "10.244.1.1", "fd00:244:0:1::1"
NODE2 = ["10.244.2.1", "fd00:244:0:2::1"]
NOBODY = "10.244.9.1"
INTERVAL = 0.2

# Without duplicate address detection, addresses can be used at once.
NETWORK = f"""
ip netns add node2
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip netns exec node2 sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
ip link add kbr0 type veth peer name kbr0 netns node2
ip address add {OWN4}/16 dev kbr0
ip address add {OWN6}/48 dev kbr0
ip link set kbr0 up
ip -n node2 address add {NODE2[0]}/16 dev kbr0
ip -n node2 address add {NODE2[1]}/48 dev kbr0
ip -n node2 link set kbr0 up
"""

PING_SOCKETS = "net.ipv4.ping_group_range"
# A root without the capability that a raw socket takes.
WITHOUT_RAW = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")


class Probing:
    """A program on the host that probes."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def ask(self, **targets: list[str]) -> None:
        """From the next round on ask these addresses of these peers."""
        temporary = self.host.folder / "targets.tmp"
        temporary.write_text(json.dumps(targets))
        temporary.rename(self.host.folder / "targets.json")

    @property
    def found(self) -> dict[str, Any]:
        """What the program last wrote."""
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.host.folder / "found.json").read_text())
            return found
        return {"results": {}, "problem": "", "sent": 0}

    def verdicts(self, peer: str = "node2") -> list[str]:
        """The verdicts of a peer's addresses, none while there is no result."""
        results = self.found["results"].get(peer, [])
        return [r["verdict"] for r in sorted(results, key=lambda r: str(r["address"]))]

    def wait_for(self, *verdicts: str, peer: str = "node2") -> None:
        """Return as soon as the addresses of a peer have these verdicts."""
        self._wait(lambda: self.verdicts(peer) == list(verdicts), f"{peer}: {verdicts}")

    def wait_for_problem(self, text: str) -> None:
        """Return as soon as the problem has this text in it, or there is none if it is empty."""
        self._wait(
            lambda: text in self.found["problem"] if text else not self.found["problem"], text
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; it found {self.found}") from None


@contextlib.contextmanager
def probing(host: Host, *prefix: str, sources: tuple[str, ...] = (OWN4, OWN6)) -> Iterator[Probing]:
    """A program that probes from the host, run by `prefix`, until the block ends."""
    program = Probing(host)
    program.ask(node2=NODE2)
    command: list[str | Path] = [
        *prefix,
        sys.executable,
        PROGRAM,
        host.folder,
        str(INTERVAL),
        *sources,
    ]
    process = subprocess.Popen(host.command(command), stdin=subprocess.DEVNULL)
    try:
        yield program
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def node1(host: Host) -> Host:
    """A host with node2 behind its Linux bridge's name."""
    for line in NETWORK.strip().splitlines():
        host.run(*line.split())
    return host


def test_unprivileged(node1: Host) -> None:
    """Where the kernel has ping sockets for the daemon's group, no capability is needed."""
    node1.run("sysctl", "-qw", f"{PING_SOCKETS}=0 0")

    with probing(node1, *WITHOUT_RAW) as program:
        program.wait_for("ok", "ok")

        results = program.found["results"]["node2"]
        assert {result["address"] for result in results} == set(NODE2)
        for result in results:
            assert 0 < result["minimum"] <= result["average"] <= result["maximum"]


def test_raw(node1: Host) -> None:
    """Where the kernel has no ping sockets for the daemon's group, CAP_NET_RAW is enough."""
    node1.run("sysctl", "-qw", f"{PING_SOCKETS}=1 0")

    with probing(node1) as program:
        program.wait_for("ok", "ok")

        assert program.found["problem"] == ""


def test_neither(node1: Host) -> None:
    """Without ping sockets and CAP_NET_RAW nothing is probed or told; the reason names both."""
    node1.run("sysctl", "-qw", f"{PING_SOCKETS}=1 0")

    with probing(node1, *WITHOUT_RAW) as program:
        program.wait_for_problem("CAP_NET_RAW")

        assert PING_SOCKETS in program.found["problem"]
        assert (program.found["results"], program.found["sent"]) == ({}, 0)

        node1.run("sysctl", "-qw", f"{PING_SOCKETS}=0 0")
        program.wait_for("ok", "ok")
        program.wait_for_problem("")


def test_before_the_first_pod(node1: Host) -> None:
    """While this node has no gateway it asks nobody, and says why; then it begins by itself."""
    node1.run("ip", "address", "del", f"{OWN4}/16", "dev", "kbr0")

    with probing(node1, sources=(OWN4,)) as program:
        program.wait_for_problem(f"IPv4: cannot send from {OWN4}")
        assert "first pod" in program.found["problem"]
        assert "this node has no IPv6 range of pods" in program.found["problem"]
        assert program.found["sent"] == 0

        node1.run("ip", "address", "add", f"{OWN4}/16", "dev", "kbr0")
        program.wait_for("ok")


def test_peer_is_lost_and_found(node1: Host) -> None:
    """A peer that answers no more is unreachable, and is not any more once it is back."""
    with probing(node1) as program:
        program.wait_for("ok", "ok")

        node1.run("ip", "-n", "node2", "link", "set", "kbr0", "down")
        program.wait_for("unreachable", "unreachable")
        assert program.found["lost"] >= 6
        before = program.found["changes"]

        # Up again, with its IPv6 address, which the kernel takes away with the link.
        node1.run("ip", "-n", "node2", "link", "set", "kbr0", "up")
        node1.run("ip", "-n", "node2", "address", "replace", f"{NODE2[1]}/48", "dev", "kbr0")
        # With losses, and ok in time: one address may be back so much later than the other.
        wait_until(lambda: set(program.verdicts()) <= {"loss", "ok"}, "both addresses")
        assert program.found["changes"] > before


def test_silent_peer(node1: Host) -> None:
    """An address that nobody has yet is silent, which is not unreachable."""
    with probing(node1) as program:
        program.ask(node2=[NOBODY])
        program.wait_for("silent")
        wait_until(lambda: program.found["lost"] >= 4, "four losses", 20)

        assert program.verdicts() == ["silent"]


def test_peer_that_left_is_forgotten(node1: Host) -> None:
    """A peer that is asked no more has no results; one that is new has."""
    with probing(node1) as program:
        program.wait_for("ok", "ok")

        program.ask(node3=NODE2)
        program.wait_for("ok", "ok", peer="node3")
        assert program.verdicts("node2") == []


def test_two_sockets_for_all(node1: Host) -> None:
    """The number of sockets does not grow with the peers."""
    with probing(node1) as program:
        program.wait_for("ok", "ok")
        few = program.found["sockets"]

        program.ask(**{f"node{number}": NODE2 for number in range(2, 102)})
        program.wait_for("ok", "ok", peer="node101")

        assert program.found["sockets"] == few


def test_nothing_leaves_by_the_default_route(node1: Host) -> None:
    """What is not on the overlay's own link is not asked, whatever the routes say."""
    node1.run("ip", "route", "add", "default", "via", NODE2[0])

    with probing(node1) as program:
        program.ask(node2=["192.0.2.1"])
        program.wait_for_problem("IPv4: cannot ask 192.0.2.1: Network is unreachable")

        assert program.verdicts() == []


def test_other_replies_are_ignored(node1: Host) -> None:
    """Somebody else's ping on the same host does not count as an answer."""
    with probing(node1) as program:
        program.ask(node2=[NOBODY])
        wait_until(lambda: program.found["sent"] >= 1, "a probe")
        node1.run("ping", "-n", "-c", "3", "-i", "0.2", "-I", OWN4, NODE2[0])

        program.wait_for("silent")
