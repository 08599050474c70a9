# SPDX-License-Identifier: Apache-2.0
"""Pods are attached and detached by the lab's own CNI runtime, as libcni would do it."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from linen.lab.errors import LabError, PluginFailed
from linen.lab.pods import netns_path
from support.labs import plain_network, reservations
from support.paths import CNITOOL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.cluster import Lab
    from linen.lab.node import Node

FOLDER = "/etc/cni/net.d"
RESULTS = "var/lib/cni/results"


@pytest.fixture
def blue(node: Node) -> Iterator[str]:
    """A second network of the node, besides linen-network."""
    path = node.root / f"{FOLDER}/blue.conflist".lstrip("/")
    path.write_text(json.dumps(plain_network("blue", "10.9.0.0/24")))
    yield "blue"
    path.unlink()


def test_add(lab: Lab, node: Node) -> None:
    """ADD gives the pod the result's address, tells each plugin's time, and fills the cache."""
    (addition,) = lab.add_pod("node1", "a")

    address = addition.attachment.addresses()[0]
    shown = json.loads(node.run(["ip", "-j", "addr", "show", "eth0"], pod="a").stdout)
    assert address in {f"{one['local']}/{one['prefixlen']}" for one in shown[0]["addr_info"]}
    assert [call.plugin for call in addition.calls] == ["bridge", "linen", "portmap"]
    assert all(call.seconds > 0 for call in addition.calls)
    assert [path.name for path in (node.root / RESULTS).iterdir()] == [
        addition.attachment.file_name
    ]
    assert [pod.name for pod in lab.pods()] == ["a"]


def test_the_pod_is_a_named_namespace(lab: Lab, node: Node) -> None:
    """`ip netns` in the node shows the node's pods, and only them."""
    lab.add_pod("node1", "a")
    lab.add_pod("node1", "b")

    listed = json.loads(node.run(["ip", "-j", "netns", "list"]).stdout)

    assert sorted(one["name"] for one in listed) == ["a", "b"]


def test_default_names(lab: Lab) -> None:
    """A pod without a name is called by the first free number."""
    lab.add_pod()
    lab.add_pod("node1", "pod3")
    lab.add_pod()
    lab.add_pod()

    assert [pod.name for pod in lab.pods()] == ["pod1", "pod2", "pod3", "pod4"]


def test_delete(lab: Lab, node: Node) -> None:
    """DEL gives the address back, empties the cache and removes the namespace."""
    lab.add_pod("node1", "a")

    lab.del_pod("a")

    assert lab.pods() == []
    assert reservations(node) == []
    assert list((node.root / RESULTS).iterdir()) == []


def test_several_networks(lab: Lab, node: Node, blue: str) -> None:
    """Further networks are attached as net1, net2 and so on, and detached with the pod."""
    lab.add_pod("node1", "a", networks=["linen-network", blue])

    (pod,) = lab.pods()
    assert [(one.network, one.ifname) for one in pod.attachments] == [
        ("linen-network", "eth0"),
        (blue, "net1"),
    ]
    links = json.loads(node.run(["ip", "-j", "link"], pod="a").stdout)
    assert {"lo", "eth0", "net1"} <= {link["ifname"] for link in links}

    lab.del_pod("a")

    assert reservations(node) == []


def test_a_failed_add_leaves_nothing(lab: Lab, node: Node) -> None:
    """When a plugin fails, its error is shown as it is, and the pod and its address are gone."""
    path = node.root / f"{FOLDER}/broken.conflist".lstrip("/")
    path.write_text(json.dumps(plain_network("broken", "10.8.0.0/24", mtu=1_000_000)))
    try:
        with pytest.raises(PluginFailed) as failure:
            lab.add_pod("node1", "a", networks=["linen-network", "broken"])
    finally:
        path.unlink()

    assert failure.value.plugin == "bridge"
    assert "br-broken" in failure.value.error["msg"]
    assert failure.value.answer.strip() in str(failure.value)
    assert lab.pods() == []
    assert reservations(node) == []
    assert list((node.root / RESULTS).iterdir()) == []


def test_a_plugin_that_is_not_there(lab: Lab, node: Node) -> None:
    """A conflist that names an unknown plugin fails by the plugin's name."""
    path = node.root / f"{FOLDER}/odd.conflist".lstrip("/")
    path.write_text('{"cniVersion": "1.0.0", "name": "odd", "plugins": [{"type": "nonesuch"}]}')
    try:
        with pytest.raises(PluginFailed, match="plugin nonesuch failed ADD"):
            lab.add_pod("node1", "a", networks=["odd"])
    finally:
        path.unlink()


def test_check(lab: Lab, node: Node) -> None:
    """CHECK is content with what was made, and tells which plugin misses something."""
    lab.add_pod("node1", "a")
    lab.check_pod("a")

    node.run(["ovs-vsctl", "del-br", "br0"])

    with pytest.raises(PluginFailed, match="plugin linen failed CHECK"):
        lab.check_pod("a")


def test_published_port(lab: Lab, node: Node) -> None:
    """A published port of the node leads to the pod."""
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    lab.add_pod("node1", "a", capability_args={"portMappings": [mapping]})
    (pod,) = lab.pods()
    with pod.node.open_pod_socket("a", socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((str(pod.addresses[0]), 80))
        listener.listen()
        listener.settimeout(10)

        def connect() -> socket.socket:
            vtep = str(node.description.vtep.ip)
            return socket.create_connection((vtep, 8080), timeout=10)

        with node.call_in_network(connect) as client:
            client.sendall(b"hello")
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(5) == b"hello"


def test_unknown_capability(lab: Lab, blue: str) -> None:
    """To publish a port in a network that cannot is refused before anything is made."""
    with pytest.raises(LabError, match="network blue has the capability portMappings"):
        lab.add_pod("node1", "a", networks=[blue], capability_args={"portMappings": []})

    assert lab.pods() == []


@pytest.mark.parametrize("command", ["check", "del"])
def test_cnitool_takes_over(lab: Lab, node: Node, command: str) -> None:
    """The real cnitool can CHECK and DEL what the lab has added."""
    lab.add_pod("node1", "a")

    done = node.run(
        [str(CNITOOL), command, "linen-network", netns_path("a")],
        env={"CNI_PATH": "/opt/cni/bin", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )

    assert done.returncode == 0
    assert bool(reservations(node)) == (command == "check")


def test_taking_over_from_cnitool(lab: Lab, node: Node) -> None:
    """The lab can CHECK and DEL what the real cnitool has added."""
    node.run(["ip", "netns", "add", "a"])
    node.run(
        [str(CNITOOL), "add", "linen-network", netns_path("a")],
        env={"CNI_PATH": "/opt/cni/bin", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )

    lab.check_pod("a")
    lab.del_pod("a")

    assert reservations(node) == []


@pytest.mark.parametrize("name", ["node1", "A", "../x", "-x"])
def test_impossible_pod_name(lab: Lab, name: str) -> None:
    """A pod cannot have a node's name, nor one that no file can have."""
    with pytest.raises(LabError, match="pod name"):
        lab.add_pod("node1", name)


def test_a_name_twice(lab: Lab) -> None:
    """A pod's name is unique in the lab."""
    lab.add_pod("node1", "a")

    with pytest.raises(LabError, match="pod a exists already, on node1"):
        lab.add_pod("node1", "a")


def test_many_at_once(lab: Lab) -> None:
    """Pods that are added at the same time get different names and addresses."""
    with ThreadPoolExecutor(6) as pool:
        added = list(pool.map(lambda _: lab.add_pod(), range(6)))

    addresses = {one.attachment.addresses()[0] for additions in added for one in additions}
    assert len(addresses) == 6
    assert [pod.name for pod in lab.pods()] == [f"pod{n}" for n in range(1, 7)]
    assert lab.ping_matrix().losses == []
