# SPDX-License-Identifier: Apache-2.0
"""`linenctl show`: what is there, in the numbers of Open vSwitch."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from support.host import DATAPATH, OVSDB_SOCKET, wait_until
from support.paths import LINENCTL

if TYPE_CHECKING:
    from cli.conftest import Node

# Says hello as OpenFlow 1.0 to 1.5 do, which is all that makes a controller a connected one.
CONTROLLER = """
import socket
server = socket.create_server(("127.0.0.1", 6653))
print("ready", flush=True)
peer, _ = server.accept()
peer.sendall(bytes([4, 0, 0, 8, 0, 0, 0, 1]))
while peer.recv(4096):
    pass
"""


def show(node: Node) -> list[dict[str, Any]]:
    """The OVS bridges."""
    done = node.linenctl("show", "--json")
    assert done.returncode == 0, done.stderr
    bridges = json.loads(done.stdout)
    assert isinstance(bridges, list)
    return bridges


def test_nothing_made_yet(fresh: Node) -> None:
    """Before the first pod there is nothing to show, foreign bridges included."""
    assert show(fresh) == []
    assert "nothing on this node" in fresh.linenctl("show").stdout


def test_bridge_and_tunnels(node: Node) -> None:
    """Network, bridges and tunnels are shown as they are in OVSDB."""
    (bridge,) = show(node)

    assert bridge["network"] == "linen-network"
    assert (bridge["bridge"], bridge["linuxBridge"]) == ("br0", "kbr0")
    assert (bridge["datapath"], bridge["owned"]) == (DATAPATH, True)
    tunnels = {tunnel["remote"]: tunnel for tunnel in bridge["tunnels"]}
    assert sorted(tunnels) == ["10.245.2.2", "10.245.2.3", "10.245.2.4"]
    assert all(tunnel["ofport"] > 0 and not tunnel["error"] for tunnel in tunnels.values())
    assert tunnels["10.245.2.3"]["name"] == "vxif10_245_2_3"


def test_counters_grow(node: Node) -> None:
    """What a pod sends is counted on the tunnels."""
    script = "ping -c 2 -W 1 -i 0.2 10.244.9.9"
    node.host.run("ip", "netns", "exec", "pod", *script.split(), check=False)

    def sent() -> int:
        (bridge,) = show(node)
        return min(int(tunnel["tx_packets"]) for tunnel in bridge["tunnels"])

    wait_until(lambda: sent() > 0, "a tunnel's counter to grow")


def test_error_of_a_tunnel(node: Node) -> None:
    """An interface that Open vSwitch could not make is shown with its error."""
    marked = "external_ids:linen-network=linen-network"
    node.host.vsctl(
        "add-port", "br0", "twin", "--", "set", "port", "twin", marked, "--", "set", "interface",
        "twin", "type=vxlan", "options:remote_ip=10.245.2.3", "options:key=flow",
    )  # fmt: skip

    (bridge,) = show(node)

    (twin,) = (tunnel for tunnel in bridge["tunnels"] if tunnel["name"] == "twin")
    assert twin["ofport"] == -1
    assert "File exists" in twin["error"]


def test_foreign_ports(node: Node) -> None:
    """Ports of others on our bridge are named."""
    node.host.vsctl("add-port", "br0", "mine", "--", "set", "interface", "mine", "type=internal")

    (bridge,) = show(node)

    assert bridge["foreignPorts"] == ["mine"]


def test_connected_controller(fresh: Node) -> None:
    """A controller that answers is shown as connected, and `check` says nothing about it."""
    with fresh.host.start(sys.executable, "-c", CONTROLLER) as controller:
        assert controller.stdout is not None
        controller.stdout.readline()
        fresh.ovs["controller"] = "127.0.0.1:6653"
        fresh.write(fresh.document)
        fresh.chain.add("pod")

        def connected() -> bool:
            (bridge,) = show(fresh)
            return bool(bridge["controllers"][0]["connected"])

        wait_until(connected, "the controller to be connected")
        assert fresh.faults() == []
        controller.kill()


def test_table_for_people(node: Node) -> None:
    """The table has a line for each tunnel, under the network's name."""
    text = node.linenctl("show").stdout

    assert text.startswith("network linen-network: OVS bridge br0\n")
    assert f"on Linux bridge kbr0, datapath {DATAPATH}" in text
    assert len([line for line in text.splitlines() if "vxif10_245_2_" in line]) == 3


def test_ovsdb_away(node: Node) -> None:
    """Without OVSDB the socket is named."""
    node.host.signal("KILL", "ovsdb-server")

    done = node.linenctl("show")

    assert done.returncode == 1
    assert "/var/run/openvswitch/db.sock" in done.stderr


def test_ovsdb_forbidden(node: Node) -> None:
    """Who may not write to OVSDB's socket hears just that, not that Open vSwitch has to start."""
    node.host.run("chown", "65534", OVSDB_SOCKET)
    without_rights = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    program = (*LINENCTL, "show", "--conf-dir", node.conf_dir)

    done = node.host.run(*without_rights, *program, check=False)

    assert done.returncode == 1
    assert f"{OVSDB_SOCKET} is not available: Permission denied" in done.stderr
    assert "as root" in done.stderr
    assert "systemctl" not in done.stderr
