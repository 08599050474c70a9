# SPDX-License-Identifier: Apache-2.0
"""What a kubelet's heartbeat costs each daemon: on the wire, and of its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support import workers
from support.counted_flaxd import Counter
from support.kube_watches import run, watching
from support.relay import Relay

if TYPE_CHECKING:
    from support.control_plane import ControlPlane

NAME = "worker-17"
HEARTBEATS = 20
LIMIT = 3 * 1024  # bytes
# Instructions of Python's virtual machine, 3,100 with CPython 3.11. There were 5,200 while anyio
# read what came and each Node was parsed anew.
WORK = 4200


def test_bytes_of_a_heartbeat(plane: ControlPlane) -> None:
    """A heartbeat of one node costs every other node's daemon at most 3 KiB, TLS included."""

    async def body() -> None:
        workers.add_worker(plane, NAME, "10.0.0.17", "10.244.17.0/24")
        with Relay(plane.port) as relay:
            kubeconfig = plane.admin_kubeconfig(f"https://127.0.0.1:{relay.port}")
            async with watching(kubeconfig) as watched:
                before, calls, revision = relay.received, watched.calls, watched.revision
                for minute in range(1, HEARTBEATS + 1):
                    workers.heartbeat(plane, NAME, minute * 60)
                plane.add_node("end")
                await watched.until(lambda: "end" in watched.records)
                assert watched.revision > revision
                assert watched.calls == calls + 1
                each = (relay.received - before) / HEARTBEATS
                assert each <= LIMIT, f"{each:.0f} bytes"

    run(body())


def test_work_of_a_heartbeat(plane: ControlPlane) -> None:
    """A heartbeat is taken from the wire and dropped without much work, on any machine."""

    def beat() -> None:
        for minute in range(1, HEARTBEATS + 1):
            workers.heartbeat(plane, NAME, minute * 60)
        plane.add_node("end")

    async def body() -> None:
        workers.add_worker(plane, NAME, "10.0.0.17", "10.244.17.0/24")
        async with watching(plane.admin_kubeconfig()) as watched:
            counter = Counter()
            counter.start()
            await asyncio.gather(
                asyncio.to_thread(beat), watched.until(lambda: "end" in watched.records)
            )
            counter.stop()
            each = counter.instructions / HEARTBEATS
            assert 0 < each <= WORK, f"{each:.0f} instructions"

    run(body())
