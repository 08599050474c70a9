# SPDX-License-Identifier: Apache-2.0
"""flaxd: what pods notice of a restart of the daemon, and of one of ovs-vswitchd.

A lab of three nodes, with a pod on each, one of which pings another a thousand times a second.
The overlay is whole again when flaxd has nothing left to do, br0 hangs on the Linux bridge, and the
ping is answered. That time runs from the start of ovs-vswitchd's process, before it can do
anything, so it is longer than what flaxd needs.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.results import Goal, Outcome, exactly
from linen.lab.description import LINUX_BRIDGE, OVS_BRIDGE
from linen.netlink.blocking import Netlink
from support.host import wait_until
from support.overlays import Overlay, Ping, is_whole, kill_switch, running_overlay

ROUNDS = (3, 10)  # restarts of each: quick, thorough
PINGS = 4000  # milliseconds, and packets
DATABASE = "unix:/var/run/openvswitch/db.sock"
PATIENCE = 30.0  # seconds
GOAL = 1000.0  # milliseconds until the overlay is whole


def measure(rounds: int) -> Outcome:
    """Restart the daemon of the pinging node, then the switch of the pinged one."""
    with (
        tempfile.TemporaryDirectory(prefix="linen-bench-") as name,
        running_overlay(Path(name)) as overlay,
    ):
        undisturbed = [_lost(overlay, restart=False) for _ in range(rounds)]
        lost = [_lost(overlay, restart=True) for _ in range(rounds)]
        repairs = [_repair(overlay) for _ in range(rounds)]
    return Outcome(
        [],
        [
            Goal(f"packets lost in {rounds} restarts of flaxd", exactly(sum(lost)), 0, ""),
            Goal(
                f"ovs-vswitchd restarts: overlay whole, slowest of {rounds}",
                exactly(round(max(repairs))),
                GOAL,
                "ms",
            ),
        ],
        {
            f"packets lost in as many times {PINGS} pings without a restart": sum(undisturbed),
            "ovs-vswitchd restarts: overlay whole, median, ms": round(statistics.median(repairs)),
        },
        {"lost": lost, "lost without a restart": undisturbed, "overlay whole, ms": repairs},
    )


def _lost(overlay: Overlay, *, restart: bool) -> int:
    """How many of the packets were lost."""
    node = overlay.lab.node("node1")
    ping = Ping(overlay.lab, overlay.lab.node("node3"), PINGS)
    if restart:
        overlay.stop_flaxd(node)
        overlay.start_flaxd(node)
    return ping.result().lost


def _repair(overlay: Overlay) -> float:
    """Milliseconds from the start of ovs-vswitchd until the overlay is whole."""
    node = overlay.lab.node("node2")
    kill_switch(node)
    ping = Ping(overlay.lab, node, PINGS)
    begun = time.time()
    node.popen(
        ["ovs-vswitchd", DATABASE, "--pidfile", "-vconsole:off"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    node.call_in_network(lambda: wait_until(_is_attached, "br0 on kbr0", PATIENCE))
    wait_until(lambda: is_whole(node), "flaxd to have nothing left to do", PATIENCE)
    mended = time.time()
    answered = [moment for moment in ping.result().answered if moment > begun]
    if not answered:
        raise RuntimeError(f"{node.name} has not answered {PINGS} ms after its switch began")
    return (max(mended, answered[0]) - begun) * 1000


def _is_attached() -> bool:
    """Whether the OVS bridge is up on the Linux bridge, in the caller's network namespace."""
    netlink = Netlink()
    try:
        port, bridge = netlink.find_link(OVS_BRIDGE), netlink.find_link(LINUX_BRIDGE)
    finally:
        netlink.close()
    return port is not None and bridge is not None and port.up and port.master == bridge.index
