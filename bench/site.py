# SPDX-License-Identifier: Apache-2.0
"""The node that is measured in a large cluster: a fresh host, its daemon, and who watches it.

The others are a fleet (`bench.fleet`). The daemon has its default settings but for probes, which
are switched off until `probing` switches them on.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import usage
from bench.fleet import CLUSTER_RANGE, OWN, name_of, pod_range
from bench.memory import high_water_mark
from bench.rules import RuleWitness
from bench.witness import Witness
from linen.flaxd import probe
from support.daemons import running_flaxd
from support.host import running_host, wait_until
from support.kubernetes_nodes import KubernetesNodes, address_of, plugin_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.fleet import ListedFleet
    from bench.usage import Memory
    from support.control_plane import ControlPlane
    from support.daemons import Flaxd
    from support.host import Host
    from support.relay import Relay

FLOW, MESH = "flow", "mesh"
VNI = 7
PATIENCE = 120.0  # seconds


def witness(pid: int, topology: str) -> Witness | RuleWitness:
    """Who sees what this topology needs in Open vSwitch, on the host of process `pid`."""
    return RuleWitness(pid) if topology == FLOW else Witness(pid)


class Site:
    """A node whose daemon was started at `began`, on time.perf_counter's clock."""

    def __init__(self, host: Host, settings: dict[str, Any], relay: Relay | None = None) -> None:
        self.host = host
        self.began = 0.0
        self._settings = settings
        self._relay = relay
        self._stack = ExitStack()
        self._running = ExitStack()  # what ends with the daemon
        self.topology: str = settings["topology"]
        self.witness = witness(host.pid, self.topology)
        self._stack.enter_context(self.witness)
        self.daemon = self._start(settings | {"probe_interval": 0})

    def close(self) -> None:
        """Stop the daemon, and watch no longer."""
        self._running.close()
        self._stack.close()

    @property
    def received(self) -> int:
        """The bytes that have come from the API server; 0 without one."""
        return self._relay.received if self._relay is not None else 0

    @property
    def cpu(self) -> float:
        """The seconds that the daemon has computed."""
        return usage.cpu(self.daemon.process.pid)

    @property
    def peak_memory(self) -> int:
        """The bytes that the daemon has had in memory at most."""
        return high_water_mark(self.daemon.process.pid)

    def shares(self, windows: int, seconds: float) -> list[float]:
        """The percentage of a core that the daemon takes, in each of some windows of time."""
        pid = self.daemon.process.pid
        return usage.shares_of_a_core([pid], windows, seconds)[pid]

    def memory(self, program: str) -> Memory:
        """The memory of ovsdb-server or ovs-vswitchd now."""
        return usage.memory(int(self.host.daemon(program)), usage.proc_of(self.host.pid))

    def restart_switch(self) -> float:
        """Kill ovs-vswitchd and start it again; when it was started.

        Returns when it has done what OVSDB says.
        """
        self.host.signal("KILL", "ovs-vswitchd")
        began = time.perf_counter()
        settings = ("--disable-system", "--detach", "--pidfile", "-vconsole:off")
        self.host.run("ovs-vswitchd", "unix:/run/openvswitch/db.sock", *settings, timeout=PATIENCE)
        return began

    def restart_with_probes(self) -> None:
        """Start the daemon anew, with all its default settings; each of its probes is answered."""
        self._running.close()
        answer_probes(self.host, pod_range(OWN).replace(".0/24", ".1/8"), CLUSTER_RANGE)
        self.daemon = self._start(self._settings)
        self.daemon.wait_for("put device br0 on Linux bridge kbr0", PATIENCE)
        self.daemon.wait_for("the overlay works", PATIENCE)

    def _start(self, settings: dict[str, Any]) -> Flaxd:
        self.began = time.perf_counter()
        return self._running.enter_context(running_flaxd(self.host, **settings))


@contextmanager
def listed_site(fleet: ListedFleet, topology: str) -> Iterator[Site]:
    """A site whose daemon has its nodes from a file."""
    with tempfile.TemporaryDirectory(prefix="linen-bench-") as name:
        folder = Path(name)
        with running_host(folder) as host:
            host.add_underlay(f"{address_of(name_of(OWN))}/16")
            settings = {
                "node": name_of(OWN),
                "peers": fleet.path,
                "state_dir": folder / "state",
                "conflist": folder / "net.d" / "linen.conflist",
                "bin_dir": plugin_folder(host),
            }
            yield from _running(Site(host, settings | _settings(topology)))


@contextmanager
def registered_site(plane: ControlPlane, topology: str) -> Iterator[Site]:
    """A site whose daemon has its nodes from an API server; all bytes from there are counted."""
    own = name_of(OWN)
    with KubernetesNodes(plane) as cluster:
        node = cluster.add(own)
        plane.set_addresses(own, [node.vtep])
        cidr = pod_range(OWN)
        plane.patch_node(own, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
        settings = node.settings | _settings(topology) | {"cluster_range": CLUSTER_RANGE}
        try:
            yield from _running(Site(node.host, settings, node.relay))
        finally:
            plane.delete_node(own)


def _settings(topology: str) -> dict[str, Any]:
    return {"topology": topology, "vni": VNI}


def _running(site: Site) -> Iterator[Site]:
    try:
        yield site
    finally:
        site.close()


def wait_for_answers(daemon: Flaxd, nodes: int) -> None:
    """Return when the gateways of all other nodes have answered a daemon's probes."""

    def answered() -> int:
        return sum(peer["probe"] == probe.OK for peer in daemon.state()["peers"])

    wait_until(lambda: answered() == nodes - 1, "an answer of each peer to a probe", PATIENCE)


def answer_probes(host: Host, gateway: str, pods: str) -> None:
    """Make the Linux bridge kbr0 with address `gateway`, and on it one who has all others.

    `pods`: the range of all these addresses, whose prefix length `gateway` has, too.
    """
    host.add_namespace("peers")
    host.run("ip", "link", "add", "kbr0", "mtu", "1450", "type", "bridge")
    host.run("ip", "link", "add", "veth-peers", "type", "veth", "peer", "eth0", "netns", "peers")
    host.run("ip", "link", "set", "veth-peers", "master", "kbr0", "up")
    host.run("ip", "address", "add", gateway, "dev", "kbr0")
    host.run("ip", "link", "set", "kbr0", "up")
    host.run("ip", "-n", "peers", "link", "set", "eth0", "up")
    # An address of a local route is one's own, for ARP, too.
    host.run("ip", "-n", "peers", "route", "add", "local", pods, "dev", "eth0")
    # It answers whom it knows the way to.
    host.run("ip", "-n", "peers", "route", "add", gateway.partition("/")[0], "dev", "eth0")
    # One neighbour for all: all namespaces of a machine share a table of 1,024 by default.
    last = str(ip_network(pods)[-2])
    for half in ip_network(pods).subnets():
        host.run("ip", "route", "add", str(half), "via", last, "dev", "kbr0", "onlink")
