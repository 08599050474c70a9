# SPDX-License-Identifier: Apache-2.0
"""The options in `ovs`: what each does to Open vSwitch, and what is said when they are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cni import call
from support.host import DATAPATH, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from chain.conftest import Attached
    from support.cni import Json
    from support.host import Host


def interface(host: Host, name: str) -> Json:
    """One row of OVSDB's table Interface."""
    (row,) = (row for row in host.records("Interface") if row["name"] == name)
    return row


def port(host: Host, name: str) -> Json:
    """One row of OVSDB's table Port."""
    (row,) = (row for row in host.records("Port") if row["name"] == name)
    return row


def conf(**options: object) -> Json:
    """A configuration with nothing but options: enough for errors that are found first."""
    return {"cniVersion": "1.1.0", "name": "net", "type": "linen", "ovs": options}


def test_every_fault_is_named_in_one_answer(host: Host, plugin: Path) -> None:
    """A configuration with many faults is refused once, with code 7 and all of them."""
    wrong = conf(
        isMaster="yes",
        ovsBridge=5,
        vtepIPs=["10.245.2.2", "banana"],
        vni=1 << 24,
        dstPort=0,
        datapathType="kernel",
        stp="maybe",
        topology="ring",
        tunnelOptions={"remote_ip": "10.0.0.1"},
        ovsdb="tcp:127.0.0.1:6640",
        controller="192.168.2.100:port",
        colour="blue",
    )

    text = call(host, plugin, "ADD", wrong).error(7)

    assert [key for key in wrong["ovs"] if key not in text] == []
    assert "banana" in text


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("isMastr", "isMaster"),
        ("vtepIps", "vtepIPs"),
        ("vteps", "vtepIPs"),
        ("ovsbridge", "ovsBridge"),
        ("controler", "controller"),
        ("dstport", "dstPort"),
        ("datapath_type", "datapathType"),
        ("tunelOptions", "tunnelOptions"),
    ],
)
def test_unknown_option_names_the_nearest(
    host: Host, plugin: Path, mistyped: str, meant: str
) -> None:
    """An option that does not exist is refused, naming the one that was probably meant."""
    text = call(host, plugin, "ADD", conf(**{mistyped: None})).error(7)
    assert mistyped in text
    assert meant in text


def test_mesh_and_spanning_tree_exclude_each_other(host: Host, plugin: Path) -> None:
    """A mesh with STP would cut nodes off, so it is refused."""
    text = call(host, plugin, "ADD", conf(topology="mesh", stp="rstp")).error(7)
    assert "mesh" in text
    assert "rstp" in text


@pytest.mark.parametrize("name", [None, "", 5, "../etc", "-net"])
def test_bad_network_name(host: Host, plugin: Path, name: object) -> None:
    """A network needs a name within the specification's alphabet: else code 7."""
    assert "name" in call(host, plugin, "ADD", {**conf(), "name": name}).error(7)


def test_defaults(attached: Attached) -> None:
    """Without options there is an OVS bridge br0, standalone, without tunnels or controller."""
    attached.call("ADD", attached.conf(ovs={"datapathType": DATAPATH})).result()

    (bridge,) = attached.host.records("Bridge")
    assert bridge["name"] == "br0"
    assert bridge["fail_mode"] == "standalone"
    assert (bridge["controller"], bridge["stp_enable"], bridge["rstp_enable"]) == ([], False, False)
    assert attached.host.vsctl("list-ports", "br0") == ""


def test_bridge_name(attached: Attached) -> None:
    """`ovsBridge` names the OVS bridge, which then hangs on the Linux bridge."""
    attached.call("ADD", attached.with_options(ovsBridge="overlay")).result()

    assert attached.host.vsctl("list-br") == "overlay"
    assert attached.host.links()["overlay"]["master"] == "kbr0"


def test_vni_and_port(attached: Attached) -> None:
    """`vni` and `dstPort` are the tunnels' key and destination port."""
    attached.call("ADD", attached.with_options(vni=4711, dstPort=8472)).result()

    assert interface(attached.host, "vxif10_245_2_3")["options"] == {
        "remote_ip": "10.245.2.3",
        "key": "4711",
        "dst_port": "8472",
    }


def test_tunnel_options(attached: Attached) -> None:
    """`tunnelOptions` reach Open vSwitch as they are."""
    options = {"df_default": "false", "tos": "inherit"}

    attached.call("ADD", attached.with_options(tunnelOptions=options)).result()

    seen = interface(attached.host, "vxif10_245_2_3")["options"]
    assert seen == {"remote_ip": "10.245.2.3", "key": "flow", **options}


def test_ipv6_vtep(attached: Attached) -> None:
    """A VTEP may have an IPv6 address; its port's name keeps to 15 bytes."""
    attached.call("ADD", attached.with_options(vtepIPs=["fd00:245::2", "fd00:245::3"])).result()

    names = attached.host.vsctl("list-ports", "br0").split()
    remotes = {interface(attached.host, name)["options"]["remote_ip"] for name in names}
    assert remotes == {"fd00:245::2", "fd00:245::3"}
    assert max(map(len, names)) <= 15


def test_long_addresses_get_distinct_short_names(attached: Attached) -> None:
    """Addresses whose plain names OpenFlow would cut alike have names of at most 15 bytes."""
    vteps = ["192.168.100.101", "192.168.100.102"]

    attached.call("ADD", attached.with_options(vtepIPs=vteps)).result()

    names = attached.host.vsctl("list-ports", "br0").split()
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 15


@pytest.mark.parametrize(("option", "column"), [("stp", "stp_enable"), ("rstp", "rstp_enable")])
def test_spanning_tree(attached: Attached, option: str, column: str) -> None:
    """`stp` switches one of the two spanning tree protocols on."""
    attached.call("ADD", attached.with_options(stp=option)).result()

    (bridge,) = attached.host.records("Bridge")
    assert {name for name in ("stp_enable", "rstp_enable") if bridge[name]} == {column}


@pytest.mark.parametrize(("option", "column"), [("stp", "status"), ("rstp", "rstp_status")])
def test_spanning_tree_of_a_bridge_that_is_there(
    attached: Attached, option: str, column: str
) -> None:
    """A spanning tree that is switched on later is at work, and at rest when it is switched off."""

    def is_at_work() -> bool:
        return any(row[column] for row in attached.host.records("Port"))

    attached.call("ADD").result()
    attached.call("ADD", attached.with_options(stp=option)).result()
    wait_until(is_at_work, f"{option} at work")

    attached.call("ADD").result()
    wait_until(lambda: not is_at_work(), f"{option} at rest")


@pytest.mark.parametrize(
    ("topology", "is_master", "protected"),
    [("mesh", False, True), ("star", True, False), ("star", False, True)],
)
def test_topology(attached: Attached, topology: str, *, is_master: bool, protected: bool) -> None:
    """A mesh's tunnels, and those of a star's leaf, never forward to one another; the hub's do."""
    attached.call("ADD", attached.with_options(topology=topology, isMaster=is_master)).result()
    assert port(attached.host, "vxif10_245_2_3")["protected"] is protected


@pytest.mark.parametrize(
    ("given", "targets"),
    [
        ("192.168.2.100:6653", {"tcp:192.168.2.100:6653"}),
        ("tcp:192.168.2.100:6633", {"tcp:192.168.2.100:6633"}),
        ("ssl:[fd00::1]:6653", {"ssl:[fd00::1]:6653"}),
        (["10.0.0.1:6653", "ssl:10.0.0.2:6654"], {"tcp:10.0.0.1:6653", "ssl:10.0.0.2:6654"}),
        ("", set()),
    ],
)
def test_controller(attached: Attached, given: object, targets: set[str]) -> None:
    """`controller` may be host:port, tcp:…, ssl:…, or a list of them."""
    attached.call("ADD", attached.with_options(controller=given)).result()
    assert {row["target"] for row in attached.host.records("Controller")} == targets


def test_ovsdb_elsewhere(attached: Attached) -> None:
    """`ovsdb` names the socket of an OVSDB that is somewhere else."""
    attached.host.run("mv", "/run/openvswitch/db.sock", "/run/elsewhere.sock")

    attached.call("ADD", attached.with_options(ovsdb="unix:/run/elsewhere.sock")).result()

    attached.host.run("ovs-vsctl", "--db=unix:/run/elsewhere.sock", "br-exists", "br0")


def test_legacy_place_is_accepted_with_a_warning(attached: Attached) -> None:
    """`runtimeConfig.ovs` works, and stderr says where the options belong."""
    old = attached.conf(runtimeConfig={"ovs": attached.chain.linen["ovs"]})
    del old["ovs"]

    answer = attached.call("ADD", old)

    assert answer.result() == attached.prev_result
    assert "runtimeConfig.ovs" in answer.stderr
    assert "vxif10_245_2_3" in attached.host.vsctl("list-ports", "br0")


def test_new_place_wins_over_the_legacy_one(attached: Attached) -> None:
    """Where both places are given, top-level `ovs` counts, and the difference is reported."""
    both = attached.conf(runtimeConfig={"ovs": {"ovsBridge": "old", "datapathType": DATAPATH}})

    answer = attached.call("ADD", both)

    answer.result()
    assert attached.host.vsctl("list-br") == "br0"
    assert "runtimeConfig.ovs" in answer.stderr


def mac_table(host: Host) -> Json:
    """What is set of br0's table of MACs."""
    (row,) = (row for row in host.records("Bridge") if row["name"] == "br0")
    found: Json = row["other_config"]
    return found


def test_room_for_the_macs_of_all_pods(attached: Attached) -> None:
    """Our OVS bridge can remember a MAC for each address of the pods' subnet."""
    attached.call("ADD").result()
    assert mac_table(attached.host) == {"mac-table-size": "65536"}
    assert "/65536" in attached.host.run("ovs-appctl", "fdb/stats-show", "br0").stdout

    attached.host.vsctl("remove", "Bridge", "br0", "other_config", "mac-table-size")
    attached.call("CHECK").assert_empty_success()  # as after an upgrade of the plugin
    attached.call("ADD").result()
    assert mac_table(attached.host) == {"mac-table-size": "65536"}


def test_room_for_macs_that_an_administrator_has_set(attached: Attached) -> None:
    """A size that somebody has set stays as it is."""
    attached.call("ADD").result()
    attached.host.vsctl("set", "Bridge", "br0", "other_config:mac-table-size=100")

    attached.call("ADD").result()
    assert mac_table(attached.host) == {"mac-table-size": "100"}


def test_room_for_macs_on_a_bridge_of_somebody_else(attached: Attached) -> None:
    """The table of a bridge that Linen has not made stays as it is."""
    attached.host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")

    attached.call("ADD").result()
    assert mac_table(attached.host) == {}
