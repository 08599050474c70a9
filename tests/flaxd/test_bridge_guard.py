# SPDX-License-Identifier: Apache-2.0
"""The rules that keep pods from sending VXLAN through an OVS bridge that learns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from linen.flaxd.bridge_guard import INTERVAL
from support.daemons import running_flaxd
from support.host import DATAPATH, VSWITCHD, wait_until

if TYPE_CHECKING:
    from support.daemons import Flaxd
    from support.host import Host

UDP = "udp", "udp6"


def guard(port: int) -> set[str]:
    """The two rules for a UDP port."""
    return {f"priority=65535,{udp},in_port=LOCAL,tp_dst={port} actions=drop" for udp in UDP}


GUARD = guard(4789)
LEARNING = "priority=0 actions=NORMAL"
LISTED = "external_ids:linen-network=listed external_ids:linen-maker=plugin"


def rules(host: Host, bridge: str = "br0") -> set[str]:
    """The rules of an OVS bridge, without their cookies."""
    shown = host.run("ovs-ofctl", "--no-stats", "dump-flows", bridge, check=False).stdout
    lines = (line.strip() for line in shown.splitlines() if "actions=" in line)
    return {line.rpartition(", ")[2] for line in lines}


def wait_for_guard(host: Host) -> None:
    """Return when the two rules are there."""
    wait_until(lambda: rules(host) >= GUARD, "the rules")


def test_bridge_goes_on_learning(node1: Host, flaxd: Flaxd) -> None:
    """There are two rules beside the one that makes the OVS bridge a learning switch."""
    wait_for_guard(node1)

    assert rules(node1) == GUARD | {LEARNING}
    assert flaxd.state()["faults"] == []


def test_nothing_works_before_the_guards(flaxd: Flaxd) -> None:
    """Pods are let in, by the conflist, once those that are there cannot send VXLAN."""
    said = flaxd.log
    guards = [said.find("through OVS bridge br0: wrote"), said.find("wrote nftables' linen-")]

    assert -1 not in guards
    assert max(guards) < said.find("linen.conflist") < said.find("the overlay works")


@pytest.mark.usefixtures("flaxd")
def test_rules_that_others_remove(node1: Host) -> None:
    """Guard rules that somebody removes are put back, and rules of others stay."""
    wait_for_guard(node1)
    node1.run("ovs-ofctl", "del-flows", "br0")
    node1.run("ovs-ofctl", "add-flow", "br0", "priority=7,actions=NORMAL")

    wait_for_guard(node1)

    assert "priority=7 actions=NORMAL" in rules(node1)


@pytest.mark.usefixtures("flaxd")
def test_vswitchd_restarts(node1: Host) -> None:
    """ovs-vswitchd that has forgotten them has them again, long before the next look at them."""
    took = []
    wait_for_guard(node1)
    for _ in range(3):
        began = time.monotonic()
        node1.signal("TERM", "ovs-vswitchd")
        node1.run(*VSWITCHD.split())
        wait_for_guard(node1)
        took.append(time.monotonic() - began)

    # Each began with a look. One that is slow may be the machine's fault.
    assert sorted(took)[1] < INTERVAL * 0.8


@pytest.mark.usefixtures("flaxd")
def test_network_without_a_daemon(node1: Host) -> None:
    """The OVS bridge of a network whose conflist lists its peers is guarded by the other's daemon.

    One that is not Linen's is not.
    """
    for bridge in "br7", "br8":
        node1.vsctl("add-br", bridge, "--", "set", "bridge", bridge, f"datapath_type={DATAPATH}")
    node1.vsctl("set", "bridge", "br7", *LISTED.split())

    wait_until(lambda: rules(node1, "br7") >= GUARD, "the rules")

    assert rules(node1, "br8") == {LEARNING}


@pytest.mark.parametrize("topology", ["mesh", "flow"])
def test_another_networks_port(node1: Host, settings: dict[str, Any], topology: str) -> None:
    """The ports of all networks are guarded for as long as these are there; no others are."""
    with running_flaxd(node1, topology=topology, **settings) as flaxd:
        flaxd.wait_for("the overlay works")
        tunnel = ["vxif1", "--", "set", "interface", "vxif1", "type=vxlan"]
        tunnel += ["options:remote_ip=10.245.0.9", "options:dst_port=8472"]
        node1.vsctl("add-br", "br7", "--", "set", "bridge", "br7", f"datapath_type={DATAPATH}")
        node1.vsctl("set", "bridge", "br7", *LISTED.split())
        node1.vsctl("add-port", "br7", *tunnel)
        node1.vsctl("set", "interface", "vxif1", LISTED.split(maxsplit=1)[0])

        for bridge in "br0", "br7":
            wait_until(lambda: guards(node1, bridge) == GUARD | guard(8472), "the rules")  # noqa: B023
        both = "udp dport 8472", "udp dport 4789"
        wait_until(lambda: all(one in firewall(node1) for one in both), "nftables' rules")

        node1.vsctl("del-br", "br7")
        wait_until(lambda: guards(node1, "br0") == GUARD, "the end of the rules")
        wait_until(lambda: both[0] not in firewall(node1), "the end of nftables'")
        assert both[1] in firewall(node1)


def guards(host: Host, bridge: str) -> set[str]:
    """The rules of the highest priority."""
    return {rule for rule in rules(host, bridge) if rule.startswith("priority=65535,")}


def firewall(host: Host) -> str:
    """The node's, as nftables tells it."""
    return host.run("nft", "list", "ruleset").stdout


def test_bridge_that_does_not_answer(node1: Host, flaxd: Flaxd) -> None:
    """Where the rules cannot be written that is told, until they can."""
    wait_for_guard(node1)
    said = "pods can send VXLAN through OVS bridge br0"
    for there, away in (("br0.mgmt", "br0.gone"), ("br0.gone", "br0.mgmt")):
        node1.run("mv", f"/run/openvswitch/{there}", f"/run/openvswitch/{away}")
        is_told = away == "br0.gone"
        wait_until(
            lambda: any(said in fault for fault in flaxd.state()["faults"]) == is_told,  # noqa: B023
            "the fault" if is_told else "its end",
            40,
        )
