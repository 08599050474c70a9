# SPDX-License-Identifier: Apache-2.0
"""The network between the nodes of a cluster: a network namespace with two Linux bridges.

Bridge `nodes` is where nodes have their own addresses, and where the control plane runs. Bridge
`tunnels` carries what Open vSwitch encapsulates: without the kernel's module it does so in
userspace, and then the link with the tunnels' address belongs to it alone. Two networks, so that a
node whose Open vSwitch is away can still say so.
The namespace also has `OUTSIDE`, an address that is no node's, where the rest of the world begins,
and another of IPv6.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from linen.lab import namespaces
from support.cluster import addressing
from support.control_plane import Place
from support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.addressing import Addressing

OUTSIDE, OUTSIDE_6 = "192.0.2.1", "2001:db8::1"
_ROUTER = 1


class Fabric(Place):
    """A running fabric, where a control plane can run. `pid` is that of a process in it.

    `routers`: the nodes' way out, by version of IP.
    """

    def __init__(self, pid: int, relays: ExitStack, addresses: Addressing) -> None:
        self.pid = pid
        self.routers = addresses.nodes(_ROUTER)
        self.address = self.routers[addresses.versions[0]]
        self.inside = ("nsenter", f"--net=/proc/{pid}/ns/net", "--")
        self._relays = relays
        self.run("ip", "link", "set", "lo", "up")
        for outside in (OUTSIDE, OUTSIDE_6):
            self.run("ip", "address", "add", outside, "dev", "lo")
        for bridge in ("nodes", "tunnels"):
            self.run("ip", "link", "add", bridge, "type", "bridge")
            self.run("ip", "link", "set", bridge, "up")
        # They can be used at once.
        self.run("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/nodes/accept_dad")
        for router in self.routers.values():
            self.run("ip", "address", "add", addressing.with_prefix(router), "dev", "nodes")

    def run(self, *argv: str) -> str:
        """What a command prints that runs in the fabric."""
        done = subprocess.run([*self.inside, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def reach(self, port: int) -> int:
        """The port of our own loopback by which a port of the fabric's loopback is reached."""
        return self._relays.enter_context(Relay(port, connect=self.connect)).port

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """A TCP connection that is made in the fabric."""
        pidfd = os.pidfd_open(self.pid)
        try:
            return namespaces.call_inside(
                lambda: namespaces.join(pidfd, namespaces.CLONE_NEWNET),
                lambda: socket.create_connection(address),
            )
        finally:
            os.close(pidfd)


@contextmanager
def running_fabric(addresses: Addressing) -> Iterator[Fabric]:
    """A fabric that ends when the block does, or the process that runs it."""
    pipe = subprocess.PIPE
    command = ["unshare", "--net", "--", "sh", "-c", "echo $$; exec cat"]
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as process,
        ExitStack() as relays,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Fabric(int(process.stdout.readline()), relays, addresses)
        finally:
            relays.close()
            process.stdin.close()
