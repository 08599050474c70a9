# SPDX-License-Identifier: Apache-2.0
"""A lab whose nodes have several networks at once, each kept by a flaxd of its own."""

from __future__ import annotations

import itertools
import json
import select
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Self

from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.daemons import FLAXD
from support.host import DATAPATH, wait_until
from support.labs import fresh_name
from support.overlays import is_whole, set_br_netfilter
from support.vxlan import DEADLINE, PAUSE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from linen.lab.node import Node
    from linen.lab.pods import Pod

UDP_PORT = 7007

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Network:
    """A network, and what of it has to be its own on a node.

    Its pods have addresses of both IP versions. `subnet`: the first two bytes of those of IPv4,
    which are in those of IPv6, too. `options`: of its daemons, more than they need. `folder`: of
    its conflist. `has_daemons`: otherwise its conflists list the nodes.
    """

    name: str
    number: int
    topology: str
    vni: int | None
    subnet: str = "10.244"
    options: Sequence[str] = ()
    folder: str = "/etc/cni/net.d"
    has_daemons: bool = True

    @property
    def listen(self) -> tuple[str, int]:
        """Where its daemons serve their pages."""
        return "127.0.0.1", 9474 + self.number

    @property
    def conflist(self) -> str:
        """Where its daemons write the conflist."""
        return f"{self.folder}/{self.number}-{self.name}.conflist"

    def pod(self, node: int) -> str:
        """The name of its pod on a node."""
        return f"{self.name}{node}"

    def address(self, node: int) -> str:
        """The address of that pod: a range's first address is its gateway, the second a pod's."""
        return f"{self.subnet}.{node}.2"

    @property
    def cluster_range(self) -> list[str]:
        """All pods' addresses, for each IP version."""
        return [f"{self.subnet}.0.0/16", f"fd00:{self.subnet.replace('.', ':')}::/48"]

    def ranges(self, node: int) -> list[str]:
        """A node's part of them."""
        return [
            f"{self.subnet}.{node}.0/24",
            f"fd00:{self.subnet.replace('.', ':')}:{node}::/64",
        ]

    def render(self, lab: Lab, node: int) -> dict[str, object]:
        """A node's conflist as an administrator writes it."""
        others = [one for one in lab.description.nodes if one.index != node]
        ovs = {"topology": self.topology, "ovsBridge": f"br{self.number}", "vni": self.vni}
        bridge = {
            "type": "bridge",
            "bridge": f"kbr{self.number}",
            "isDefaultGateway": True,
            "ipMasq": True,
            "mtu": 1450,
            "ipam": {"type": "host-local", "ranges": self._pod_ranges(node)},
        }
        peers = {"vtepIPs": [str(one.vtep.ip) for one in others], "datapathType": DATAPATH}
        linen = {"type": "linen", "ovs": ovs | peers}
        return {"cniVersion": "1.0.0", "name": self.name, "plugins": [bridge, linen]}

    def _pod_ranges(self, node: int) -> list[object]:
        ranges: list[object] = []
        for whole, part in zip(self.cluster_range, self.ranges(node), strict=True):
            first = ip_network(part)[0]
            own = {"gateway": str(first + 1), "rangeStart": str(first + 2)}
            ranges.append([{"subnet": whole, **own, "rangeEnd": str(first + 250)}])
        return ranges

    def daemon(self, node: Node, peers: Path) -> list[str]:
        """The command line of its daemon on a node."""
        host, port = self.listen
        given = {
            "node": node.name,
            "peers": peers,
            "network": self.name,
            "topology": self.topology,
            "linux-bridge": f"kbr{self.number}",
            "ovs-bridge": f"br{self.number}",
            "conflist": self.conflist,
            "listen": f"{host}:{port}",
            "datapath-type": DATAPATH,
        }
        if self.vni is not None:
            given["vni"] = self.vni
        return [str(FLAXD), *(f"--{name}={value}" for name, value in given.items()), *self.options]


@contextmanager
def running_networks(folder: Path, *networks: Network, br_netfilter: bool = True) -> Iterator[Lab]:
    """Two nodes, each with all of these networks.

    `folder`: for the daemons' files of nodes. `br_netfilter`: whether packets between pods pass the
    nodes' firewalls.
    """
    with Lab.started(describe(nodes=2, topology="mesh", name=fresh_name())) as lab:
        set_br_netfilter(lab, on=br_netfilter)
        for node in lab.nodes.values():
            node.run(["sh", "-c", "rm /etc/cni/net.d/*"])
        for network in networks:
            peers = folder / f"{network.name}.json"
            peers.write_text(json.dumps(_cluster(lab, network)))
            for node in lab.nodes.values():
                document = network.render(lab, node.description.index)
                _bring(node, network, peers, document)
        yield lab


def _bring(node: Node, network: Network, peers: Path, conflist: dict[str, object]) -> None:
    """Give a node its part of a network."""
    if network.has_daemons:
        start_flaxd(node, network, peers)
    else:
        node.write_file(network.conflist, json.dumps(conflist))


def add_a_pod_each(lab: Lab, *networks: Network) -> None:
    """Make a pod of each network on each node."""
    for network in networks:
        for node in lab.nodes.values():
            lab.add_pod(node.name, network.pod(node.description.index), networks=[network.name])


def start_flaxd(node: Node, network: Network, peers: Path) -> None:
    """Start a network's daemon on a node, and return once its overlay works."""
    quiet = subprocess.DEVNULL
    command = network.daemon(node, peers)
    node.popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    place = network.conflist, network.listen
    wait_until(lambda: is_whole(node, *place), f"{network.name} on {node.name}", 30)


def _cluster(lab: Lab, network: Network) -> dict[str, object]:
    """The daemons' file of nodes."""
    nodes = [
        {
            "name": node.name,
            "vtep": str(node.vtep.ip),
            "ranges": network.ranges(node.index),
        }
        for node in lab.description.nodes
    ]
    return {"clusterRange": network.cluster_range, "nodes": nodes}


# --- packets ---


class Servers:
    """A UDP server in each of some pods, which answers by its pod's name."""

    def __init__(self, lab: Lab, *pods: str) -> None:
        self._lab = lab
        self._sockets = {_datagrams(lab.pod(pod)): pod for pod in pods}
        for one in self._sockets:
            one.bind(("", UDP_PORT))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()

    def ask(self, pod: str, address: str) -> list[str]:
        """The pods that got a question which `pod` sent to `address`, one of which has answered.

        A busy machine loses a packet now and then, so it is asked until there is an answer.
        """
        heard: set[str] = set()
        question = b"question %d" % next(_numbers)
        deadline = time.monotonic() + DEADLINE
        with _datagrams(self._lab.pod(pod)) as client:
            client.settimeout(PAUSE)
            while time.monotonic() < deadline:
                client.sendto(question, (address, UDP_PORT))
                heard |= set(self._answer(question))
                try:
                    assert client.recv(2048).decode() in heard
                except TimeoutError:
                    continue
                return sorted(heard)
        raise AssertionError(f"{pod} got no answer from {address}")

    def _answer(self, question: bytes) -> Iterator[str]:
        """Let the servers answer a question once, and tell which of them did."""
        for server in select.select(list(self._sockets), [], [], PAUSE)[0]:
            heard, sender = server.recvfrom(2048)
            if heard == question:  # not a late one
                server.sendto(self._sockets[server].encode(), sender)
                yield self._sockets[server]


def send_datagram(pod: Pod, address: str, payload: bytes) -> None:
    """Send a UDP datagram from a pod."""
    with _datagrams(pod, socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
        client.sendto(payload, (address, UDP_PORT))


def _datagrams(pod: Pod, family: int = socket.AF_INET) -> socket.socket:
    return pod.node.open_pod_socket(pod.name, family, socket.SOCK_DGRAM)


def mac_of(pod: Pod) -> str:
    """The MAC of a pod's eth0."""
    (eth0,) = [one for one in pod.attachments[0].result["interfaces"] if one.get("sandbox")]
    mac: str = eth0["mac"]
    return mac
