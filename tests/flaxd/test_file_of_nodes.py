# SPDX-License-Identifier: Apache-2.0
"""flaxd without Kubernetes: tunnels follow the file of nodes, whatever happens in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import running_flaxd
from support.host import DATAPATH, OVSDB_SERVER, VSWITCHD, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemons import Flaxd, Nodes
    from support.host import Host


def tunnels(host: Host) -> set[str]:
    """The peers that a tunnel leads to."""
    return {
        row["options"]["remote_ip"]
        for row in host.records("Interface", "options", "type")
        if row["type"] == "vxlan"
    }


def wait_for_tunnels(host: Host, *peers: str) -> None:
    """Return as soon as tunnels lead to just these peers (the last number of each address)."""
    wanted = {f"10.245.0.{peer}" for peer in peers}
    wait_until(lambda: tunnels(host) == wanted, f"tunnels to {sorted(wanted)}")


@pytest.mark.usefixtures("flaxd")
def test_starts_from_nothing(node1: Host) -> None:
    """On a fresh host the daemon makes the OVS bridge and a protected tunnel to each other node."""
    assert tunnels(node1) == {"10.245.0.2", "10.245.0.3"}
    ports = {row["name"]: row["protected"] for row in node1.records("Port", "name", "protected")}
    assert ports == {"br0": False, "vxif10_245_0_2": True, "vxif10_245_0_3": True}


@pytest.mark.usefixtures("flaxd")
def test_join_leave_and_move(node1: Host, nodes: Nodes) -> None:
    """A node that joins, leaves or changes its address gets, loses or changes its tunnel."""
    nodes.add("node4")
    wait_for_tunnels(node1, "2", "3", "4")

    nodes.remove("node2")
    wait_for_tunnels(node1, "3", "4")

    nodes.add("node3", vtep="10.245.0.33")
    wait_for_tunnels(node1, "33", "4")


def test_leaves_while_the_daemon_is_down(
    node1: Host, nodes: Nodes, settings: dict[str, Any]
) -> None:
    """A node that was removed while the daemon was down loses its tunnel at the next start."""
    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("the overlay works")
    nodes.remove("node2")

    with running_flaxd(node1, **settings):
        wait_for_tunnels(node1, "3")


def test_faulty_file_changes_nothing(node1: Host, nodes: Nodes, flaxd: Flaxd) -> None:
    """A file that cannot be used is reported with its faults, and the tunnels stay."""
    nodes.add("node2", vtep="$(reboot)")
    flaxd.wait_for("nodes[1]: vtep: '$(reboot)' is not an IPv4 or IPv6 address")
    assert tunnels(node1) == {"10.245.0.2", "10.245.0.3"}

    nodes.add("node2", vtep="10.245.0.22")
    wait_for_tunnels(node1, "22", "3")


def test_starts_without_the_file(node1: Host, nodes: Nodes, settings: dict[str, Any]) -> None:
    """A restart without the file keeps and mends the tunnels that are known from before."""
    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("the overlay works")
    nodes.path.unlink()
    node1.vsctl("del-port", "vxif10_245_0_2")

    with running_flaxd(node1, **settings):
        wait_for_tunnels(node1, "2", "3")


@pytest.mark.usefixtures("flaxd")
@pytest.mark.parametrize(
    "damage",
    [
        ["del-port", "vxif10_245_0_2"],
        ["set", "interface", "vxif10_245_0_2", "options:key=99"],
        ["set", "port", "vxif10_245_0_2", "protected=false"],
        ["set", "interface", "vxif10_245_0_2", "bfd:enable=false"],
        ["set", "bridge", "br0", "fail_mode=secure"],
        ["del-br", "br0"],
    ],
    ids=" ".join,
)
def test_mends_what_somebody_changed(node1: Host, damage: list[str]) -> None:
    """What was changed or removed by hand in Open vSwitch is put right."""
    wanted = state(node1)

    node1.vsctl(*damage)

    wait_until(lambda: state(node1) == wanted, "the damage to be mended")


def state(host: Host) -> dict[str, Any]:
    """All that the daemon makes in Open vSwitch."""
    columns = {
        "Bridge": ("name", "fail_mode", "stp_enable"),
        "Port": ("name", "protected"),
        "Interface": ("name", "type", "options", "bfd"),
    }
    return {table: sorted(host.records(table, *names), key=str) for table, names in columns.items()}


@pytest.mark.usefixtures("flaxd")
def test_foreign_ports_stay(node1: Host, nodes: Nodes) -> None:
    """A port that somebody else added is never touched."""
    node1.vsctl("add-port", "br0", "own", "--", "set", "interface", "own", "type=internal")

    nodes.remove("node2")
    wait_for_tunnels(node1, "3")

    assert "own" in node1.vsctl("list-ports", "br0").split()


def test_bridge_that_is_the_nodes_uplink(
    node1: Host, nodes: Nodes, settings: dict[str, Any]
) -> None:
    """An OVS bridge of others with a network card on it is left as it is, and that is told.

    Also where there are no other nodes yet.
    """
    nodes.remove("node2")
    nodes.remove("node3")
    node1.run("ip", "link", "add", "card", "type", "veth", "peer", "name", "cable0")
    node1.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    node1.vsctl("add-port", "br0", "card")
    node1.run("ip", "link", "add", "kbr0", "type", "bridge")

    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("waiting: OVS bridge br0 isn't Linen's and has the host's card on it")
        assert daemon.get("/readyz")[0] == 503

    assert node1.vsctl("list-ports", "br0") == "card"
    assert node1.links()["br0"].get("master") is None


@pytest.mark.usefixtures("flaxd")
def test_puts_the_ovs_bridge_on_the_linux_bridge(node1: Host) -> None:
    """br0 joins kbr0 as soon as that exists, and again whenever somebody takes it off or down."""
    node1.run("ip", "link", "add", "kbr0", "mtu", "1400", "type", "bridge")
    wait_until(lambda: attached(node1), "br0 on kbr0")

    node1.run("ip", "link", "set", "br0", "nomaster")
    wait_until(lambda: attached(node1), "br0 on kbr0 again")

    node1.run("ip", "link", "set", "br0", "down")
    wait_until(lambda: attached(node1), "br0 up again")


def test_daemon_that_waits_for_another(node1: Host, settings: dict[str, Any]) -> None:
    """Of two daemons of one network, the one that looks on changes no device either."""
    for name in ("kbr0", "kbr1"):
        node1.run("ip", "link", "add", name, "mtu", "1450", "type", "bridge")
    with running_flaxd(node1, **settings) as first:
        first.wait_for("the overlay works")
        wait_until(lambda: attached(node1), "br0 on kbr0")
        other = {"linux_bridge": "kbr1", "conflist": node1.folder / "other" / "linen.conflist"}

        with running_flaxd(node1, **settings | other) as second:
            second.wait_for("another flaxd of network linen-network runs on this node")

            assert "put device br0 on Linux bridge kbr1" not in second.log
            assert attached(node1)


def attached(host: Host) -> bool:
    """Whether br0 is up and on kbr0."""
    br0 = host.links()["br0"]
    return br0.get("master") == "kbr0" and "UP" in br0["flags"]


@pytest.mark.usefixtures("flaxd")
def test_conflist(node1: Host, settings: dict[str, Any], nodes: Nodes) -> None:
    """The conflist is there once the overlay works, private, follows the range, and returns."""
    path: Path = settings["conflist"]
    wait_until(path.exists, "the conflist")
    document = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert document["plugins"][0]["ipam"]["ranges"][0][0]["gateway"] == "10.244.1.1"
    assert document["plugins"][0]["mtu"] == 1450
    assert document["cniVersions"] == ["1.0.0", "1.1.0"]

    nodes.add("node1", ranges=["10.244.77.0/24"])
    wait_until(lambda: "10.244.77.1" in path.read_text(), "the new range")

    path.unlink()
    wait_until(path.exists, "the conflist again")
    assert tunnels(node1) == {"10.245.0.2", "10.245.0.3"}


def test_no_conflist_before_the_overlay_works(node1: Host, settings: dict[str, Any]) -> None:
    """While ovs-vswitchd is away there is no conflist, so no runtime takes the node for ready."""
    node1.signal("KILL", "ovs-vswitchd")

    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("waiting: ovs-vswitchd ")  # which of its two reasons it comes to first
        assert not settings["conflist"].exists()


def test_star(node1: Host, settings: dict[str, Any]) -> None:
    """In a star the master has a tunnel to all, a leaf to the master alone."""
    with running_flaxd(node1, **settings, topology="star"):
        wait_for_tunnels(node1, "2", "3")
    node1.vsctl("del-br", "br0")
    node1.run("ip", "address", "flush", "dev", "eth0")
    node1.run("ip", "address", "add", "10.245.0.2/16", "dev", "eth0")

    leaf = settings | {"node": "node2"}
    with running_flaxd(node1, **leaf, topology="star"):
        wait_for_tunnels(node1, "1")


def test_two_hundred_nodes_at_once(node1: Host, nodes: Nodes, flaxd: Flaxd) -> None:
    """Two hundred nodes that join at once get their tunnels, and leave at once again."""
    for number in range(4, 204):
        nodes.nodes[f"node{number}"] = {
            "name": f"node{number}",
            "vtep": f"10.245.{number >> 8}.{number & 255}",
        }
    nodes.write()
    wait_until(lambda: len(tunnels(node1)) == 202, "202 tunnels")

    for number in range(4, 204):
        del nodes.nodes[f"node{number}"]
    nodes.write()
    wait_for_tunnels(node1, "2", "3")
    assert "try again" not in flaxd.log


def test_stop_leaves_the_tunnels(node1: Host, settings: dict[str, Any]) -> None:
    """The daemon ends at SIGTERM with status 0, says nothing more, and packets go on."""
    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("the overlay works")

        assert daemon.stop() == 0

    assert tunnels(node1) == {"10.245.0.2", "10.245.0.3"}
    assert "Traceback" not in daemon.log


def test_room_for_the_macs_of_all_pods(node1: Host, flaxd: Flaxd) -> None:
    """The OVS bridge can remember a MAC for each address of the pod network; a size set stays."""
    table = ("get", "Bridge", "br0", "other_config:mac-table-size")
    assert node1.vsctl(*table) == '"65536"'

    node1.vsctl("set", "Bridge", "br0", "other_config:mac-table-size=9000")
    node1.vsctl("del-port", "vxif10_245_0_2")
    wait_until(lambda: "vxif10_245_0_2" in node1.vsctl("list-ports", "br0"), "the tunnel again")
    assert node1.vsctl(*table) == '"9000"'
    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "the daemon to be ready")


BLUE = {"network": "blue", "ovs_bridge": "br1", "linux_bridge": "kbr1", "vni": 8}


@pytest.mark.parametrize(("topology", "where"), [("mesh", "10.245.0.2"), ("flow", "all nodes")])
def test_two_networks_with_one_vni(
    node1: Host, settings: dict[str, Any], topology: str, where: str
) -> None:
    """A second network that would be the same on the wire is refused, and the first goes on."""
    settings |= {"topology": topology, "vni": 8}
    conflist = node1.folder / "blue.d" / "blue.conflist"
    with running_flaxd(node1, **settings) as first:
        first.wait_for("the overlay works")
        with running_flaxd(node1, **settings | BLUE | {"conflist": conflist}) as blue:
            blue.wait_for(f"is a tunnel to {where} with key 8 already")
            blue.wait_for("give network 'blue' an ovs.vni of its own")
            assert not conflist.exists()
        assert first.get("/readyz") == (200, "ok\n\n")


def test_two_networks_with_one_conflist(node1: Host, settings: dict[str, Any]) -> None:
    """Of two daemons that write one file the earlier one leaves it to the other, and says so."""
    settings |= {"vni": 7}
    with running_flaxd(node1, **settings) as first:
        wait_until(settings["conflist"].exists, "the conflist")
        with running_flaxd(node1, **settings | BLUE) as blue:
            first.wait_for("is network blue's by now, of another flaxd")
            assert first.get("/readyz")[0] == 503
            assert blue.get("/readyz")[0] == 200

        settings["conflist"].unlink()
        wait_until(lambda: first.get("/readyz")[0] == 200, "the first one's conflist")
    assert json.loads(settings["conflist"].read_text())["name"] == "linen-network"


def test_silent_at_rest(node1: Host, nodes: Nodes, flaxd: Flaxd) -> None:
    """A change that is none of ours, such as another bridge, is no line in the log."""
    before = flaxd.log

    node1.vsctl("add-br", "other")
    node1.vsctl("set", "bridge", "br0", "external_ids:note=hello")

    nodes.add("node4")  # of which it can say something only after all the rest has reached it
    wait_for_tunnels(node1, "2", "3", "4")
    wait_until(lambda: flaxd.log != before, "a line about node4")
    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready")
    assert all("10.245.0.4" in line for line in flaxd.log.removeprefix(before).splitlines())


def start_again(host: Host, command: str) -> None:
    """Start a daemon of Open vSwitch as the host did."""
    host.run("sh", "-c", f"cd /run/openvswitch && {command}")


def test_ovsdb_comes_back(node1: Host, flaxd: Flaxd) -> None:
    """When ovsdb-server was killed and is back, the daemon is ready again, and mends as before."""
    node1.signal("KILL", "ovsdb-server")
    wait_until(lambda: flaxd.get("/readyz")[0] == 503, "not ready")

    start_again(node1, OVSDB_SERVER)

    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready again")
    node1.vsctl("--no-wait", "del-port", "vxif10_245_0_2")
    wait_for_tunnels(node1, "2", "3")


@pytest.mark.usefixtures("flaxd")
def test_switch_comes_back(node1: Host) -> None:
    """When ovs-vswitchd was killed and is back, br0 is on the Linux bridge again, and up."""
    node1.run("ip", "link", "add", "kbr0", "type", "bridge")
    wait_until(lambda: attached(node1), "br0 on kbr0")
    node1.signal("KILL", "ovs-vswitchd")

    start_again(node1, VSWITCHD)

    wait_until(lambda: "br0" in node1.links() and attached(node1), "br0 on kbr0 again")


def test_vswitchd_comes_back(node1: Host, flaxd: Flaxd) -> None:
    """While no ovs-vswitchd runs, of which OVSDB shows nothing, the daemon is not ready."""
    node1.signal("KILL", "ovs-vswitchd")
    wait_until(lambda: flaxd.get("/readyz")[0] == 503, "not ready")
    assert "ovs-vswitchd is not running" in flaxd.get("/readyz")[1]
    flaxd.wait_for("waiting: ovs-vswitchd is not running")  # once it is not just being restarted

    start_again(node1, VSWITCHD)

    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready again")
    assert flaxd.log.count("waiting: ovs-vswitchd is not running") == 1


def test_bridges_device_that_is_removed(node1: Host, flaxd: Flaxd) -> None:
    """Without the OVS bridge's device, which Open vSwitch does not miss, the daemon is not ready.

    What it says is the cure.
    """
    node1.run("ip", "link", "add", "kbr0", "type", "bridge")
    wait_until(lambda: attached(node1), "br0 on kbr0")
    node1.run("ip", "link", "del", "br0")
    flaxd.wait_for("waiting: device br0 of the OVS bridge does not exist: restart ovs-vswitchd")
    assert flaxd.get("/readyz")[0] == 503

    node1.signal("KILL", "ovs-vswitchd")
    start_again(node1, VSWITCHD)

    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready again")
