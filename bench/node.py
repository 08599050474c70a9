# SPDX-License-Identifier: Apache-2.0
"""A node to measure on: a host with real Open vSwitch, pods, and CNI calls that are timed.

The host is the tests' one (support.host). Timed programs are started by a thread that has joined
its namespaces: no `nsenter` stands between us and the program.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.memory import peak_memory
from bench.process import Finished, Invocation, Running
from linen.lab import namespaces
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection
from support import conflists
from support.cni import Json, plugin_entry
from support.host import OVSDB_SOCKET, Host, environment, running_host
from support.paths import FROZEN_PLUGIN, GO_TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

LINEN = FROZEN_PLUGIN
BRIDGE = GO_TOOLS / "bridge"
HOST_LOCAL = GO_TOOLS / "host-local"
OVS_CNI = GO_TOOLS / "ovs"

OVS_BRIDGE = "br0"  # the examples' one
PEERS_BRIDGE = "br-peer"  # ovs-cni's pods hang here; it wants an OVS bridge that exists
VTEPS = ("10.245.2.2", "10.245.2.3")
PATIENCE = 120  # seconds that Open vSwitch may take to set up thousands of tunnels

_KINDS = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWPID


class Node:
    """A running node."""

    def __init__(self, host: Host, vteps: Sequence[str]) -> None:
        """Let the pods' network, of the examples, have these other nodes."""
        self.host = host
        self._conflist = conflists.example("master")
        conflists.options_of(plugin_entry(self._conflist, "linen"))["vtepIPs"] = list(vteps)

    # --- pods ---

    def add_pod(self, name: str) -> str:
        """Make a pod, i.e. a network namespace."""
        self.host.add_namespace(name)
        return name

    def remove_pod(self, name: str) -> None:
        """Take it away."""
        self.host.run("ip", "netns", "delete", name)

    # --- Open vSwitch ---

    def add_ovs_bridge(self, name: str) -> None:
        """Make an OVS bridge, and thereby the datapath, unless it is there."""
        settings = ("--", "set", "bridge", name, "datapath_type=netdev")
        self.host.vsctl("--may-exist", "add-br", name, *settings)

    def remove_ovs_bridge(self, name: str) -> None:
        """Remove an OVS bridge if it is there, and wait until ovs-vswitchd has done so."""
        self.host.vsctl("--if-exists", "del-br", name)

    def transact(self, operations: Sequence[Json]) -> None:
        """Carry out one OVSDB transaction, and wait until ovs-vswitchd has followed."""
        socket = f"/proc/{self.host.pid}/root{OVSDB_SOCKET.removeprefix('/var')}"
        with Connection(socket, Deadline(PATIENCE)) as connection:
            connection.transact(operations)
        follow = ("set", "Open_vSwitch", ".", "external_ids:bench=followed")
        unfollow = ("remove", "Open_vSwitch", ".", "external_ids", "bench")
        for change in (follow, unfollow):  # a change makes ovs-vsctl wait for ovs-vswitchd
            self.host.run("ovs-vsctl", f"--timeout={PATIENCE}", *change, timeout=PATIENCE)

    # --- programs ---

    def run(self, invocation: Invocation) -> Finished:
        """Run and time a program. Raises `ProgramFailed`."""
        (done,) = self.run_all([invocation])
        done.refuse_failure()
        return done

    def run_all(self, invocations: Sequence[Invocation]) -> list[Finished]:
        """Start all programs at once, and wait for all of them, whether they succeed or not."""

        def start_and_wait() -> list[Finished]:
            running = [Running(invocation) for invocation in invocations]
            return [program.wait() for program in running]

        return self._call(start_and_wait)

    def peak_memory(self, invocation: Invocation) -> int:
        """The peak memory of a program, in bytes."""
        return self._call(lambda: peak_memory(invocation))

    def _call(self, function: Callable[[], T]) -> T:
        """Run a function in a thread that is inside of the node."""
        pidfd = os.pidfd_open(self.host.pid)
        try:
            return namespaces.call_inside(lambda: namespaces.join(pidfd, _KINDS), function)
        finally:
            os.close(pidfd)

    # --- CNI ---

    def bridge(self, command: str, pod: str, *, masquerade: bool = False) -> Invocation:
        """A call of `bridge`, the first plugin of the chain.

        The examples have `masquerade`, which makes it run iptables some times. Without, it is the
        harder peer.
        """
        conf = self._conf("bridge") | {"ipMasq": masquerade}
        return cni_call(BRIDGE, command, pod, conf)

    def linen(self, command: str, pod: str, previous: bytes) -> Invocation:
        """A call of `linen`, next in the chain."""
        conf = self._conf("linen") | {"prevResult": json.loads(previous)}
        return cni_call(LINEN, command, pod, conf)

    def attached(self, pod: str) -> Invocation:
        """The ADD of `linen` for a new pod that `bridge` has attached already."""
        self.add_pod(pod)
        return self.linen("ADD", pod, self.run(self.bridge("ADD", pod)).stdout)

    def ovs_cni(self, command: str, pod: str) -> Invocation:
        """A call of ovs-cni's plugin, with the same kind of addresses as `bridge`."""
        conf = {
            "cniVersion": self._conflist["cniVersion"],
            "name": "ovs-cni",
            "type": "ovs",
            "bridge": PEERS_BRIDGE,
            "mtu": 1400,
            "ipam": {"type": "host-local", "subnet": "10.199.0.0/16"},
        }
        return cni_call(OVS_CNI, command, pod, conf)

    def _conf(self, plugin: str) -> Json:
        """A plugin's configuration as libcni makes it from its entry in the list."""
        common = {key: self._conflist[key] for key in ("name", "cniVersion")}
        return common | plugin_entry(self._conflist, plugin)


def program(*argv: str | Path, **env: str) -> Invocation:
    """A call of any program, with an environment that holds nothing of ours but `env`."""
    return Invocation(argv, environment(env))


def cni_call(plugin: Path, command: str, pod: str = "", conf: Json | None = None) -> Invocation:
    """A call of a plugin as a container runtime does it."""
    variables = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": pod,
        "CNI_NETNS": f"/run/netns/{pod}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(plugin.parent),
    }
    stdin = json.dumps(conf).encode() if conf else b""
    return Invocation([plugin], environment(variables), stdin)


@contextmanager
def running_node(vteps: Sequence[str] = VTEPS) -> Iterator[Node]:
    """A node that ends, with all that runs in it, when the block does.

    It has an underlay, like a real one: routes to the other nodes, and an MTU.
    """
    with (
        tempfile.TemporaryDirectory(prefix="linen-bench-") as folder,
        running_host(Path(folder)) as host,
    ):
        host.run("ip", "link", "add", "underlay", "type", "veth", "peer", "name", "wire")
        host.run("ip", "address", "add", "10.245.1.2/16", "dev", "underlay")
        for link in ("wire", "underlay"):
            host.run("ip", "link", "set", link, "up")
        yield Node(host, vteps)
