# SPDX-License-Identifier: Apache-2.0
"""Traffic between the two ends of a network: iperf3 for throughput, sockperf for round trips."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.throughput_networks import processor
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.throughput_networks import End, Network

IPERF, SOCKPERF = 5201, 11111  # ports: their defaults
CONGESTION = "cubic"  # Linux's default, whatever this machine's is
MESSAGE = 64  # bytes of a question, and of its answer
MARGIN = 20  # seconds that a program may take longer than it sends

_ROUND_TRIPS = re.compile(r"\[Valid Duration\] RunTime=([0-9.]+) sec;.* ReceivedMessages=(\d+)")
_PERCENTILE = re.compile(r"percentile ([0-9.]+) = +([0-9.]+)")


class RoundTrips(NamedTuple):
    """One question at a time. `rate`: a second. `median`, `p99`: seconds, there and back."""

    rate: float
    median: float
    p99: float


@contextmanager
def _server(end: End, port: int, *argv: str) -> Iterator[None]:
    """A program that serves, from the moment when it listens until the end of the block."""
    quiet = subprocess.DEVNULL
    process = end.node.popen(
        _beside_switch(end, argv), pod=end.pod, stdin=quiet, stdout=quiet, stderr=quiet
    )
    listening = ["ss", "-Hltn", f"src {end.address} and sport = {port}"]
    try:
        wait_until(lambda: end.node.run(listening, pod=end.pod).stdout, f"{argv[0]} to listen")
        yield
    finally:
        process.terminate()
        process.wait()


def tcp(network: Network, streams: int, seconds: int) -> float:
    """What arrives of so many TCP streams at once, in bit/s."""
    options = ["--parallel", str(streams), "--congestion", CONGESTION]
    received = _iperf(network, seconds, *options)["sum_received"]
    return float(received["bits_per_second"])


def round_trips(network: Network, seconds: int) -> RoundTrips:
    """A question and its answer of `MESSAGE` bytes over one TCP connection, one at a time."""
    address = ["--tcp", "-i", network.server.address, "-p", str(SOCKPERF)]
    size = ["-m", str(MESSAGE), "-t", str(seconds), "--full-rtt"]
    with _server(network.server, SOCKPERF, "sockperf", "server", *address):
        text = _run(network.client, ["sockperf", "ping-pong", *address, *size], seconds)
    return parse_round_trips(text)


def parse_round_trips(text: str) -> RoundTrips:
    """What sockperf has found, from what it says."""
    total = _ROUND_TRIPS.search(text)
    percentiles = {float(share): float(value) for share, value in _PERCENTILE.findall(text)}
    if total is None or not {50.0, 99.0} <= percentiles.keys():
        raise ValueError(f"sockperf has not said how long round trips take: {text}")
    rate = int(total[2]) / float(total[1])
    return RoundTrips(rate, percentiles[50.0] / 1e6, percentiles[99.0] / 1e6)


def _iperf(network: Network, seconds: int, *options: str) -> dict[str, dict[str, float]]:
    """The end of iperf3's report."""
    address = network.server.address
    command = ["iperf3", "--client", address, "--time", str(seconds), "--json", *options]
    with _server(network.server, IPERF, "iperf3", "--server", "--bind", address):
        report = json.loads(_run(network.client, command, seconds))
    if "error" in report:
        raise RuntimeError(f"{' '.join(command)} in {network.label}: {report['error']}")
    end: dict[str, dict[str, float]] = report["end"]
    return end


def _run(end: End, argv: list[str], seconds: int) -> str:
    return end.node.run(_beside_switch(end, argv), pod=end.pod, timeout=seconds + MARGIN).stdout


def _beside_switch(end: End, argv: Sequence[str]) -> list[str]:
    """A command on the node's own processor."""
    return ["taskset", "--cpu-list", processor(end.node), *argv]
