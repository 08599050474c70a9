# SPDX-License-Identifier: Apache-2.0
"""ADD: the overlay is as configured afterwards, whatever was there, and others' rows are unhurt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.host import DATAPATH

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.cni import Chain, Json
    from support.host import Host

TABLES = ("Bridge", "Port", "Interface", "Controller")
CONFIGURED = ("_uuid", "name", "target", "options", "type", "protected", "external_ids", "ports")


def configuration(host: Host) -> Json:
    """What is configured in OVSDB, without statistics and status."""
    return {
        table: sorted(
            ({key: row[key] for key in CONFIGURED if key in row} for row in host.records(table)),
            key=lambda row: str(row["_uuid"]),
        )
        for table in TABLES
    }


def ports(host: Host) -> set[str]:
    """The ports of the OVS bridge br0."""
    return set(host.vsctl("list-ports", "br0").split())


MASTERS_PORTS = {"vxif10_245_2_2", "vxif10_245_2_3", "vxif10_245_2_4"}


def test_result_is_the_one_from_before(attached: Attached) -> None:
    """ADD prints prevResult as it came, even what no version of the specification knows."""
    extended = {**attached.prev_result, "x-vendor": {"list": [1, 2.5, None, "ü"], "deep": {}}}
    extended["interfaces"][1]["x-queue"] = 3

    assert attached.call("ADD", attached.conf(prevResult=extended)).result() == extended


def test_linux_bridge_may_be_anywhere_in_the_result(attached: Attached) -> None:
    """The Linux bridge is found among all interfaces of prevResult, not by its place."""
    shuffled = json.loads(json.dumps(attached.prev_result))
    shuffled["interfaces"].reverse()
    shuffled["ips"][0]["interface"] = 0

    assert attached.call("ADD", attached.conf(prevResult=shuffled)).result() == shuffled
    assert attached.host.links()["br0"]["master"] == "kbr0"


def test_without_anything_before_us(attached: Attached) -> None:
    """Without prevResult there is nothing to chain to: code 7, saying what belongs before us."""
    alone = attached.conf()
    del alone["prevResult"]

    assert "bridge" in attached.call("ADD", alone).error(7)
    assert attached.host.vsctl("list-br") == ""


@pytest.mark.datapath
def test_again_changes_nothing(chain: Chain) -> None:
    """A second ADD finds everything in place: not one row is added, changed or made anew."""
    chain.add("one")
    before = configuration(chain.host)

    chain.add("two")
    chain.add("three")

    assert configuration(chain.host) == before
    assert len(before["Controller"]) == 1


def test_retry_of_the_same_attachment(attached: Attached) -> None:
    """ADD for an attachment that it has served already succeeds, with the same result."""
    first = attached.call("ADD").result()
    assert attached.call("ADD").result() == first


@pytest.mark.parametrize(
    "damage",
    [
        ("del-port", "vxif10_245_2_3"),
        ("set", "Interface", "vxif10_245_2_3", "options:remote_ip=10.9.9.9"),
        ("set", "Interface", "vxif10_245_2_3", "options:key=5"),
        ("set", "Port", "vxif10_245_2_3", "protected=true"),
        ("set", "Bridge", "br0", "fail_mode=secure"),
        ("set", "Bridge", "br0", "stp_enable=true"),
        ("del-controller", "br0"),
        ("del-br", "br0"),
    ],
    ids=" ".join,
)
def test_damage_is_repaired(chain: Chain, damage: tuple[str, ...]) -> None:
    """What somebody broke by hand is whole again after the next ADD."""
    chain.add("one")
    chain.host.vsctl(*damage)

    chain.add("two")

    assert ports(chain.host) == MASTERS_PORTS
    assert chain.check("two").status == 0
    assert [row["target"] for row in chain.host.records("Controller")] == ["tcp:192.168.2.100:6653"]


@pytest.mark.datapath
@pytest.mark.parametrize("damage", [("nomaster",), ("down",), ("nomaster", "down")], ids=" ".join)
def test_lost_master_is_repaired(chain: Chain, damage: tuple[str, ...]) -> None:
    """An OVS bridge that was taken off the Linux bridge hangs on it again after the next ADD.

    So does one that was set down.
    """
    chain.add("one")
    chain.host.run("ip", "link", "set", "br0", *damage)

    chain.add("two")

    assert chain.host.links()["br0"]["master"] == "kbr0"
    assert "UP" in chain.host.links()["br0"]["flags"]


@pytest.mark.datapath
def test_own_bridge_follows_its_networks_linux_bridge(chain: Chain) -> None:
    """The network's own OVS bridge moves from another Linux bridge to that of the pods."""
    chain.add("one")
    chain.host.run("ip", "link", "add", "other0", "type", "bridge")
    chain.host.run("ip", "link", "set", "br0", "master", "other0")

    chain.add("two")

    assert chain.host.links()["br0"]["master"] == "kbr0"
    assert chain.check("two").status == 0


@pytest.mark.datapath
def test_peers_come_and_go_with_the_configuration(chain: Chain) -> None:
    """Tunnels and controllers follow the configuration: new ones come, those that left it go."""
    chain.add("one")
    chain.linen["ovs"]["vtepIPs"] = ["10.245.2.3", "10.245.2.5"]
    chain.linen["ovs"]["controller"] = "192.168.2.101:6653"
    chain.write(chain.conflist)

    chain.add("two")

    assert ports(chain.host) == {"vxif10_245_2_3", "vxif10_245_2_5"}
    assert [row["target"] for row in chain.host.records("Controller")] == ["tcp:192.168.2.101:6653"]


def test_foreign_rows_are_left_alone(chain: Chain) -> None:
    """Ports, controllers and bridges that others made stay as they are."""
    host = chain.host
    host.vsctl("add-br", "other", "--", "set", "Bridge", "other", f"datapath_type={DATAPATH}")
    chain.add("one")
    host.vsctl("add-port", "br0", "mine", "--", "set", "Interface", "mine", "type=internal")
    vxlan = ("--", "set", "Interface", "vx-mine", "type=vxlan", "options:remote_ip=10.7.7.7")
    host.vsctl("add-port", "br0", "vx-mine", *vxlan)
    host.vsctl("--", "--id=@c", "create", "Controller", 'target="tcp:10.7.7.7:6653"', "--", "add",
               "Bridge", "br0", "controller", "@c")  # fmt: skip
    chain.linen["ovs"]["vtepIPs"] = ["10.245.2.5"]
    chain.write(chain.conflist)

    chain.add("two")

    assert ports(host) == {"mine", "vx-mine", "vxif10_245_2_5"}
    targets = {row["target"] for row in host.records("Controller")}
    assert targets == {"tcp:192.168.2.100:6653", "tcp:10.7.7.7:6653"}
    assert host.vsctl("list-br").split() == ["br0", "other"]


def test_taken_name_of_a_port(chain: Chain) -> None:
    """A port of somebody else with the name that we would take stays; ours gets another."""
    host = chain.host
    host.vsctl("add-br", "other", "--", "set", "Bridge", "other", f"datapath_type={DATAPATH}")
    internal = ("--", "set", "Interface", "vxif10_245_2_3", "type=internal")
    host.vsctl("add-port", "other", "vxif10_245_2_3", *internal)

    chain.add("one")

    assert host.vsctl("list-ports", "other") == "vxif10_245_2_3"
    rows = host.records("Interface", "name", "type", "options")
    remotes = {row["options"]["remote_ip"] for row in rows if row["type"] == "vxlan"}
    assert remotes == {"10.245.2.2", "10.245.2.3", "10.245.2.4"}
    assert all(len(name) <= 15 for name in ports(host))


def test_own_address_is_no_peer(chain: Chain) -> None:
    """The same list may go to all nodes: no tunnel leads to an address of the node itself."""
    chain.host.add_underlay("10.245.2.3/24")

    chain.add("one")

    assert ports(chain.host) == MASTERS_PORTS - {"vxif10_245_2_3"}


@pytest.mark.datapath
@pytest.mark.parametrize("gateway", [True, False])
def test_linux_bridge_keeps_its_mac(chain: Chain, *, gateway: bool) -> None:
    """The Linux bridge has the MAC of bridge's result, though a port with a lower one joined it."""
    bridge = chain.conflist["plugins"][0]
    bridge |= {"isGateway": gateway, "isDefaultGateway": gateway, "ipMasq": gateway}
    chain.write(chain.conflist)

    result = chain.add("one")
    chain.host.run("ip", "link", "set", "br0", "address", "02:00:00:00:00:01")
    chain.add("two")

    mac = result["interfaces"][0]["mac"]
    assert chain.host.links()["kbr0"]["address"] == mac
    assert chain.check("one").status == 0


def test_too_large_mtu_is_warned_of(attached: Attached) -> None:
    """Pods whose packets do not fit through the underlay in a tunnel are worth a warning."""
    attached.host.add_underlay("10.245.2.9/24", mtu=1430)

    answer = attached.call("ADD")

    answer.result()
    assert "1400" in answer.stderr
    assert "1380" in answer.stderr  # 1430 less 50 bytes of Ethernet, IPv4, UDP and VXLAN headers


def test_underlay_of_ipv6_takes_more(attached: Attached) -> None:
    """Over IPv6 VXLAN adds 70 bytes; where that leaves too little for IPv6 pods, that is said."""
    attached.host.add_underlay("fd00:245::9/64", mtu=1349)

    answer = attached.call("ADD", attached.with_options(vtepIPs=["fd00:245::2"]))

    answer.result()
    assert "set mtu 1279" in answer.stderr  # 1349 less 70
    assert "with IPv6 pods give underlay 1350 first" in answer.stderr


def test_fitting_mtu_is_not_warned_of(attached: Attached) -> None:
    """Where everything is right, nothing is said."""
    attached.host.add_underlay("10.245.2.9/24", mtu=1450)

    answer = attached.call("ADD")

    answer.result()
    assert answer.stderr == ""


def test_second_network_with_another_vni_is_refused(attached: Attached) -> None:
    """Two networks with different VNIs on one OVS bridge are no isolation: code 102."""
    attached.call("ADD", attached.with_options(vni=7)).result()
    other = {**attached.with_options(vni=8), "name": "other-network"}

    text = attached.call("ADD", other).error(102)

    assert "br0" in text
    assert "linen-network" in text
    assert "ovsBridge" in text


@pytest.mark.datapath
def test_two_networks_on_one_node(attached: Attached) -> None:
    """Networks with an OVS bridge and a VNI each stand side by side, with the same peers."""
    attached.call("ADD", attached.with_options(vni=7)).result()
    host, chain = attached.host, attached.chain
    other = json.loads(json.dumps(chain.conflist))
    other["name"] = "other-network"
    other["plugins"][0]["bridge"] = "kbr1"
    other["plugins"][0]["ipam"] = {"type": "host-local", "subnet": "10.99.0.0/24"}
    other["plugins"][1]["ovs"] |= {"ovsBridge": "br1", "vni": 8}
    chain.write(other)

    chain.add("two")

    assert len(host.vsctl("list-ports", "br1").split()) == 3
    assert ports(host) == MASTERS_PORTS
    assert (host.links()["br0"]["master"], host.links()["br1"]["master"]) == ("kbr0", "kbr1")
