# SPDX-License-Identifier: Apache-2.0
"""The controller of the image linen-controller, and bridges that do nothing without it."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.images import end
from support.labs import fresh_name, linenctl
from support.paths import EXAMPLES, LINENCTL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host
    from support.images import Image

PODS = ("pod1", "pod2", "pod3")
NODE1 = "10.245.2.2"  # its underlay address in a lab, and its VTEP in examples/


@pytest.fixture
def controller(host: Host, native: dict[str, Image]) -> Iterator[subprocess.Popen[bytes]]:
    """The controller, run in the host's network by its own user."""
    image = native["linen-controller"]
    container = ("unshare", "--pid", "--fork", "--kill-child", "chroot")
    user = f"--userspec={image.config['config']['User']}"
    process = host.start(*container, user, image.root, *image.config["config"]["Cmd"])
    yield process
    end(process)


@pytest.fixture
def bridge(host: Host, controller: subprocess.Popen[bytes]) -> Host:
    """A host with a bridge that has three pods, and the controller."""
    wait_until(lambda: ":6653" in host.run("ss", "-ltn").stdout, "the controller to listen", 30)
    assert controller.poll() is None
    host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
    host.vsctl("set-fail-mode", "br0", "secure")
    for number, pod in enumerate(PODS, 1):
        host.add_namespace(pod)
        host.run("ip", "link", "add", pod, "type", "veth", "peer", "name", "eth0", "netns", pod)
        host.run("ip", "link", "set", pod, "up")
        address = f"10.244.1.{number}/24"
        host.run("ip", "-n", pod, "address", "add", address, "dev", "eth0")
        host.run("ip", "-n", pod, "link", "set", "eth0", "up")
        host.vsctl("add-port", "br0", pod)
    host.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
    connected = ("--bare", "--columns=is_connected", "list", "controller")
    wait_until(lambda: host.vsctl(*connected) == "true", "the bridge to connect", 30)
    wait_until(lambda: "CONTROLLER" in rules(host), "the rule of a bridge that has connected")
    return host


def ping(host: Host, source: str, target: str) -> bool:
    """Whether a packet there comes back; a busy machine loses one now and then."""
    command = ("ip", "netns", "exec", source, "ping", "-c1", "-w10", target)
    return host.run(*command, check=False).returncode == 0


def rules(host: Host) -> str:
    """The bridge's rules, as ovs-ofctl prints them."""
    return host.run("ovs-ofctl", "dump-flows", "br0").stdout


def test_pods_reach_one_another(bridge: Host) -> None:
    """A bridge that forwards nothing by itself connects its pods when the controller drives it."""
    assert ping(bridge, "pod1", "10.244.1.2")
    assert ping(bridge, "pod3", "10.244.1.1")


def test_pairs_get_rules(bridge: Host) -> None:
    """Pods that talk have rules in the bridge: their packets no longer ask the controller."""
    assert ping(bridge, "pod1", "10.244.1.2")
    wait_until(lambda: rules(bridge).count("idle_timeout=60") >= 2, "rules for both directions")
    assert "NORMAL" not in rules(bridge)


def test_an_address_that_moves_is_followed(bridge: Host) -> None:
    """When a pod's address appears on another port, packets go there."""
    assert ping(bridge, "pod1", "10.244.1.2")
    links = bridge.links("-n", "pod2")
    address = links["eth0"]["address"]
    bridge.run("ip", "-n", "pod2", "link", "set", "eth0", "down")
    for line in (
        "link set eth0 down",
        f"link set eth0 address {address}",
        "address add 10.244.1.2/24 dev eth0",
        "link set eth0 up",
    ):
        bridge.run("ip", "-n", "pod3", *line.split())
    # A packet may be lost: the bridge sends by its cache until it has looked at its rules again.
    wait_until(lambda: ping(bridge, "pod3", "10.244.1.1"), "an answer to pod3")
    assert ping(bridge, "pod1", "10.244.1.2")


def test_a_bridge_that_is_connected_is_not_replaced(bridge: Host) -> None:
    """Whoever claims to be a bridge that is connected already is refused; the bridge works on."""
    same = bridge.vsctl("get", "bridge", "br0", "datapath_id").strip('"')
    bridge.vsctl("add-br", "br1", "--", "set", "bridge", "br1", "datapath_type=netdev")
    bridge.vsctl("set-fail-mode", "br1", "secure")
    bridge.vsctl("set", "bridge", "br1", f"other-config:datapath-id={same}")
    bridge.vsctl("set-controller", "br1", "tcp:127.0.0.1:6653")

    status = ("--bare", "--columns=status", "list", "controller", "br1")
    wait_until(lambda: "last_error" in bridge.vsctl(*status), "the impostor to be refused", 30)

    assert "CONTROLLER" not in bridge.run("ovs-ofctl", "dump-flows", "br1").stdout
    assert ping(bridge, "pod1", "10.244.1.2")
    wait_until(lambda: rules(bridge).count("idle_timeout=60") >= 2, "rules for both directions")


def test_a_bridge_that_left_comes_back(bridge: Host) -> None:
    """A bridge whose connection ended is let in again, and learns anew."""
    assert ping(bridge, "pod1", "10.244.1.2")
    bridge.vsctl("del-controller", "br0")
    wait_until(lambda: "idle_timeout" not in rules(bridge), "its rules to go")
    bridge.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")

    wait_until(lambda: ping(bridge, "pod1", "10.244.1.2"), "an answer", 30)


def test_a_dead_connection_is_forgotten(bridge: Host) -> None:
    """A bridge whose connection broke without a word is let in within half a minute."""
    assert ping(bridge, "pod1", "10.244.1.2")
    # Nothing of the old connection passes any more; the bridge connects to another address.
    both = ("-s", "127.0.0.1", "-d", "127.0.0.1", "-p", "tcp")
    bridge.run("iptables", "-A", "OUTPUT", *both, "-j", "DROP")
    bridge.vsctl("set-controller", "br0", "tcp:127.0.0.2:6653")

    connected = ("--bare", "--columns=is_connected", "list", "controller")
    wait_until(lambda: bridge.vsctl(*connected) == "true", "the bridge to connect again", 30)
    wait_until(lambda: ping(bridge, "pod1", "10.244.1.3"), "an answer", 30)


def test_container_stops_at_once(bridge: Host, controller: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends the controller, process 1 of its container, while bridges are connected."""
    assert "CONTROLLER" in rules(bridge)
    end(controller, signal.SIGTERM)
    assert controller.returncode == 0


@pytest.fixture
def lab(tmp_path: Path, native: dict[str, Image]) -> Iterator[str]:
    """The star of examples/ on three nodes, whose bridges are to ask a controller on node1."""
    for path in EXAMPLES.glob("*.conflist"):
        text = path.read_text().replace("192.168.2.100:6653", f"{NODE1}:6653")
        (tmp_path / path.name).write_text(text)
    name = fresh_name()
    up = linenctl("lab", "up", "--name", name, "--nodes", "3", "--conflists", str(tmp_path))
    assert up.returncode == 0, up.stderr
    image = native["linen-controller"]
    inside = ("chroot", image.root, *image.config["config"]["Cmd"])
    with subprocess.Popen([*LINENCTL, "lab", "exec", "--name", name, "node1", "--", *inside]):
        try:
            yield name
        finally:
            linenctl("lab", "down", "--name", name)


def on_node(lab: str, node: str, *argv: str) -> str:
    """What a command prints on a node of the lab."""
    done = linenctl("lab", "exec", "--name", lab, node, "--", *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pods_of_a_star(lab: str) -> None:
    """Pods of three nodes reach one another through bridges that the controller drives."""
    for node in ("node1", "node2", "node3"):
        assert linenctl("lab", "add-pod", "--name", lab, node, f"pod-{node}").returncode == 0
        connected = ("ovs-vsctl", "--bare", "--columns=is_connected", "list", "controller")
        wait_until(lambda: on_node(lab, node, *connected) == "true\n", "the controller", 30)  # noqa: B023
    matrix = linenctl("lab", "ping-matrix", "--name", lab)
    assert matrix.returncode == 0, matrix.stdout + matrix.stderr
    for node in ("node1", "node2", "node3"):
        shown = on_node(lab, node, "ovs-ofctl", "dump-flows", "br0")
        assert "idle_timeout=60" in shown
        assert "NORMAL" not in shown
