# SPDX-License-Identifier: Apache-2.0
"""The daemon in topology flow on one host: which rules there are, and that they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import Flaxd, Nodes, node, running_flaxd
from support.host import DATAPATH, VSWITCHD, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host

COMMON = 4  # rules that do not depend on peers
PER_PEER = 3  # with one IPv4 range


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a daemon in topology flow."""
    return settings | {"topology": "flow", "vni": 7}


@pytest.fixture
def flaxd(node1: Host, settings: dict[str, Any]) -> Iterator[Flaxd]:
    """Node1's daemon, once its overlay works."""
    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("the overlay works")
        yield daemon


def rules(host: Host) -> set[str]:
    """The rules of br0 as ovs-ofctl shows them."""
    command = ("ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", "br0")
    lines = host.run(*command, check=False).stdout.splitlines()
    return {line.strip() for line in lines if "actions=" in line}


def about(host: Host, number: int) -> list[str]:
    """The rules that have to do with a node."""
    words = (f"=10.245.0.{number} ", f":10.245.0.{number}-")
    return [rule for rule in rules(host) if any(word in rule for word in words)]


def test_bridge_and_rules(node1: Host, flaxd: Flaxd) -> None:
    """There is one tunnel, on a bridge that floods nothing, and three rules for each node."""
    (bridge,) = node1.records("Bridge", "name", "fail_mode")
    (tunnel,) = [r for r in node1.records("Interface", "name", "options", "type") if r["options"]]

    assert bridge == {"name": "br0", "fail_mode": "secure"}
    assert tunnel["options"] == {"remote_ip": "flow", "key": "7"}
    assert len(about(node1, 2)) == len(about(node1, 3)) == PER_PEER
    assert len(rules(node1)) == COMMON + 2 * PER_PEER
    counts = flaxd.state()["rules"]
    assert counts["wanted"] == counts["installed"] == COMMON + 2 * PER_PEER
    assert counts["foreign"] == 0
    assert 'flaxd_rules{rules="installed"} 10.0' in flaxd.get("/metrics")[1]


def test_nodes_join_and_leave(node1: Host, nodes: Nodes, flaxd: Flaxd) -> None:
    """A node that joins has rules, one that leaves has none, and those of the others stay."""
    stay = {*about(node1, 2)}

    nodes.add("node4")
    wait_until(lambda: len(about(node1, 4)) == PER_PEER, "rules for node4")
    nodes.remove("node3")
    wait_until(lambda: not about(node1, 3), "rules for node3 to go")
    nodes.add("node4", vtep="10.245.0.44")
    wait_until(lambda: len(about(node1, 44)) == PER_PEER, "rules for node4's new address")

    assert {*about(node1, 2)} == stay
    assert not about(node1, 4)
    assert "rules: 3 written, 0 deleted: new node4" in flaxd.log
    assert "rules: 0 written, 3 deleted: gone node3" in flaxd.log


@pytest.mark.usefixtures("flaxd")
@pytest.mark.parametrize(
    "tampering",
    [
        ("del-flows", "br0"),
        ("del-flows", "br0", "arp"),
        ("mod-flows", "br0", "ip,actions=NORMAL"),
        ("add-flow", "br0", "priority=0,actions=NORMAL"),
    ],
)
def test_what_somebody_changes_is_put_right(node1: Host, tampering: tuple[str, ...]) -> None:
    """Rules of ours that were deleted or changed by hand are back at once."""
    before = rules(node1)

    node1.run("ovs-ofctl", "-OOpenFlow14", *tampering)

    wait_until(lambda: rules(node1) == before, "the rules")


def test_rules_of_others_are_told(node1: Host, flaxd: Flaxd) -> None:
    """A rule beside ours stays, and is told as long as it is there."""
    node1.run("ovs-ofctl", "add-flow", "br0", "priority=999,actions=NORMAL")

    flaxd.wait_for("OVS bridge br0 has rules that are not Linen's (1)")
    assert any("not Linen's" in fault for fault in flaxd.state()["faults"])
    assert flaxd.get("/readyz")[0] == 200

    node1.run("ovs-ofctl", "--strict", "del-flows", "br0", "priority=999")
    wait_until(lambda: not flaxd.state()["faults"], "nothing to complain of")


def test_switch_comes_back(node1: Host, flaxd: Flaxd) -> None:
    """A restarted ovs-vswitchd, whose socket is another one, has its rules again."""
    before = rules(node1)
    node1.signal("KILL", "ovs-vswitchd")
    node1.run("rm", "/run/openvswitch/br0.mgmt")
    node1.run("sh", "-c", f"cd /run/openvswitch && {VSWITCHD}")

    wait_until(lambda: rules(node1) == before, "the rules")

    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready again")


def test_a_restart_of_the_daemon_writes_nothing(
    node1: Host, flaxd: Flaxd, settings: dict[str, Any]
) -> None:
    """The rules stay while the daemon is away, and it finds nothing to do when it is back."""
    before = rules(node1)
    flaxd.stop()
    assert rules(node1) == before

    with running_flaxd(node1, **settings) as again:
        wait_until(lambda: again.log.count("the overlay works") == 2, "the daemon")
        counts = again.state()["rules"]

    assert rules(node1) == before
    assert (counts["written"], counts["deleted"]) == (0, 0)


def test_broadcasts_can_be_replicated(node1: Host, settings: dict[str, Any]) -> None:
    """A packet to many goes to each node once where that is wanted, and nowhere else."""
    with running_flaxd(node1, **settings, broadcast="replicate") as daemon:
        daemon.wait_for("the overlay works")
        (rule,) = [one for one in rules(node1) if "dl_dst=01:00:00:00:00:00" in one]
        assert rule.count("output:") == 2

    with running_flaxd(node1, **settings) as daemon:
        wait_until(lambda: daemon.log.count("the overlay works") == 2, "the daemon")
        (rule,) = [one for one in rules(node1) if "dl_dst=01:00:00:00:00:00" in one]
        assert rule.endswith("actions=drop")


def test_replication_has_a_limit(node1: Host, nodes: Nodes, settings: dict[str, Any]) -> None:
    """Beyond 500 nodes broadcasts are dropped, not sent to some, and the daemon says so."""
    nodes.nodes |= {name: node(name) for name in (f"node{i}" for i in range(4, 503))}
    nodes.write()

    with running_flaxd(node1, **settings, broadcast="replicate") as daemon:
        daemon.wait_for("replicated to 500 nodes at most", 30)
        daemon.wait_for("the overlay works", 30)
        (rule,) = [one for one in rules(node1) if "dl_dst=01:00:00:00:00:00" in one]
        assert rule.endswith("actions=drop")

        nodes.remove("node502")
        wait_until(lambda: "faults" in daemon.state() and not daemon.state()["faults"], "no fault")
        (rule,) = [one for one in rules(node1) if "dl_dst=01:00:00:00:00:00" in one]
        assert rule.count("output:") == 500


def test_nothing_is_deleted_from_half_a_view(
    node1: Host, flaxd: Flaxd, nodes: Nodes, settings: dict[str, Any]
) -> None:
    """From the last run's copy of the nodes rules are mended, and deleted by a whole list alone."""
    ours = "cookie=0x6c696e6500000001,priority=100,tun_id=7,tun_src=10.245.0.99,actions=LOCAL"
    flaxd.stop()
    nodes.path.rename(nodes.path.with_suffix(".away"))
    node1.run("ovs-ofctl", "del-flows", "br0", "arp")
    node1.run("ovs-ofctl", "-OOpenFlow14", "add-flow", "br0", ours)

    with running_flaxd(node1, **settings) as again:
        again.wait_for("rules: 2 written, 0 deleted")
        assert about(node1, 99)

        nodes.write()
        again.wait_for("rules: 0 written, 1 deleted")
        assert not about(node1, 99)


def test_the_port_to_all_nodes_goes_with_its_rules(
    node1: Host, flaxd: Flaxd, nodes: Nodes, settings: dict[str, Any]
) -> None:
    """Where topology flow is left, its port goes at once, also while not all nodes are known.

    A tunnel to a node, who may have been in the list that is missing, stays until that has come.
    """
    flaxd.stop()
    nodes.path.rename(nodes.path.with_suffix(".away"))
    ours = [f"external_ids:linen-{key}" for key in ("network=linen-network", "maker=flaxd")]
    to_node9 = ("type=vxlan", "options:remote_ip=10.245.0.9", "options:key=7", *ours)
    node1.vsctl(
        *("add-port", "br0", "to9", "--", "set", "interface", "to9", *to_node9),
        *("--", "set", "port", "to9", "external_ids:linen-bridge=br0", *ours),
    )

    def remotes() -> list[str]:
        rows = node1.records("Interface", "options")
        return sorted(row["options"]["remote_ip"] for row in rows if row["options"])

    with running_flaxd(node1, **settings | {"topology": "mesh"}) as again:
        wait_until(lambda: again.log.count("the overlay works") == 2, "the daemon")
        assert remotes() == [f"10.245.0.{number}" for number in (2, 3, 9)]

        nodes.write()
        wait_until(lambda: "10.245.0.9" not in remotes(), "the tunnel to node9 to go")


def test_two_networks_on_one_node(node1: Host, flaxd: Flaxd, settings: dict[str, Any]) -> None:
    """A second network has an OVS bridge, a tunnel, rules and a firewall's table of its own."""
    second = {"network": "blue", "ovs_bridge": "br1", "linux_bridge": "kbr1", "vni": 8}
    second |= {"node": "node2", "mtu": 1450}  # whose address no device here has
    conflist = node1.folder / "blue.d" / "blue.conflist"
    with running_flaxd(node1, **settings | second | {"conflist": conflist}) as blue:
        blue.wait_for("the overlay works")
        blue.wait_for("pods cannot send VXLAN")
        flows = ("ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", "br1")
        theirs = node1.run(*flows).stdout

    assert theirs.count("tun_id=0x8") == 2
    assert not any("0x8" in rule for rule in rules(node1))
    assert flaxd.get("/readyz")[0] == 200
    tables = node1.run("nft", "list", "tables").stdout.split()
    assert {"linen-blue", "linen-linen-network"} <= set(tables)


def test_pods_cannot_send_vxlan(node1: Host, flaxd: Flaxd) -> None:
    """The firewall keeps pods from sending VXLAN, and comes back when somebody has emptied it."""
    kept = 'udp dport 4789 iifname "kbr0" drop'
    wait_until(lambda: kept in node1.run("nft", "list", "ruleset").stdout, "the table")

    node1.run("nft", "flush", "ruleset")

    wait_until(lambda: kept in node1.run("nft", "list", "ruleset").stdout, "the table again")
    # It says so after it has done it.
    wait_until(lambda: flaxd.log.count("pods cannot send VXLAN") >= 2, "the daemon to say so")
    assert flaxd.log.count("pods cannot send VXLAN") == 2


def test_pods_on_the_underlay_itself(node1: Host, settings: dict[str, Any]) -> None:
    """Where pods hang on the device of the tunnels, nothing is dropped, and that is told.

    That device's MTU, from which the pods' is taken, stays.
    """
    node1.run("ip", "link", "add", "kbr0", "type", "bridge")
    node1.run("ip", "link", "set", "kbr0", "up")
    node1.run("ip", "address", "del", "10.245.0.1/16", "dev", "eth0")
    node1.run("ip", "address", "add", "10.245.0.1/16", "dev", "kbr0")

    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("kbr0 has the tunnels' address as well as the pods")
        wait_until(settings["conflist"].exists, "the conflist")
        daemon.wait_for("the overlay works")

    assert node1.links()["kbr0"]["mtu"] == 1500
    assert '"mtu": 1450' in settings["conflist"].read_text()
    assert not node1.run("nft", "list", "tables").stdout


def test_a_bridge_of_somebody_else_is_refused(node1: Host, settings: dict[str, Any]) -> None:
    """An OVS bridge that has other uses gets no rules: the daemon says why, and waits."""
    node1.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    before = rules(node1)

    with running_flaxd(node1, **settings) as daemon:
        daemon.wait_for("topology flow needs one whose rules are its own")
        assert daemon.get("/readyz")[0] == 503

    assert rules(node1) == before
