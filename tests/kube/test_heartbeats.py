# SPDX-License-Identifier: Apache-2.0
"""What a kubelet's heartbeat costs each daemon on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import workers
from support.kube_watches import run, watching
from support.relay import Relay

if TYPE_CHECKING:
    from support.kubernetes import ControlPlane

NAME = "worker-17"
HEARTBEATS = 20
LIMIT = 3 * 1024  # bytes


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
