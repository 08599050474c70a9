# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch away, frozen, or unwilling: an error that helps, in time, and nothing is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from chain.conftest import Attached
from support.cni import plugin_entry
from support.conflists import set_version
from support.host import DATAPATH

if TYPE_CHECKING:
    from pathlib import Path

    from support.cni import Chain

LIMIT = 5.0  # seconds in which there must be an answer
STARTS_ALLOWED = 3  # in the time that is allowed on top of it
ATTEMPTS = 3  # of which one has to be in time: a busy machine may let a program wait


def seconds_to_start(attached: Attached) -> float:
    """What the interpreter and a busy machine take: no matter of the plugin's patience."""
    begin = time.monotonic()
    attached.call("VERSION").result()
    return time.monotonic() - begin


@pytest.mark.parametrize("signal", ["KILL", "TERM", "STOP"])
@pytest.mark.parametrize("daemon", ["ovsdb-server", "ovs-vswitchd"])
def test_add_without_open_vswitch(attached: Attached, daemon: str, signal: str) -> None:
    """ADD without one of the daemons, or with it frozen, names the socket within 5 s, code 11."""
    starting = STARTS_ALLOWED * seconds_to_start(attached)
    attached.host.signal(signal, daemon)

    def seconds_of_an_add() -> float:
        begin = time.monotonic()
        assert "/var/run/openvswitch/db.sock" in attached.call("ADD").error(11)
        return time.monotonic() - begin

    assert any(seconds_of_an_add() < LIMIT + starting for _ in range(ATTEMPTS))


@pytest.mark.parametrize("daemon", ["ovsdb-server", "ovs-vswitchd"])
def test_frozen_daemon_recovers(attached: Attached, daemon: str) -> None:
    """ADD works again as soon as a daemon that hung goes on."""
    attached.host.signal("STOP", daemon)
    attached.call("ADD").error(11)
    attached.host.signal("CONT", daemon)

    attached.call("ADD").result()

    attached.call("CHECK").assert_empty_success()


@pytest.mark.parametrize(
    "make",
    [
        "rm /run/openvswitch/db.sock",
        "rm /run/openvswitch/db.sock && mkdir /run/openvswitch/db.sock",
        "rm /run/openvswitch/db.sock && touch /run/openvswitch/db.sock",
        "rm -r /run/openvswitch",
    ],
)
def test_something_else_in_the_sockets_place(attached: Attached, make: str) -> None:
    """No socket, or something that is none, is code 11 with the path."""
    attached.host.run("sh", "-c", make)
    assert "/var/run/openvswitch/db.sock" in attached.call("ADD").error(11)


def test_error_of_a_tunnel_is_quoted(attached: Attached) -> None:
    """When Open vSwitch refuses a tunnel, its words are quoted, code 101, and no tunnel stays."""
    host = attached.host
    refused = attached.with_options(tunnelOptions={"local_ip": "flow"})

    text = attached.call("ADD", refused).error(101)

    assert "vxif10_245_2_" in text
    assert "requires 'remote_ip=flow' with 'local_ip=flow'" in text
    rows = host.records("Interface", "name", "type")
    assert [row["name"] for row in rows if row["type"] == "vxlan"] == []


def test_datapath_that_is_not_there(attached: Attached) -> None:
    """Where Open vSwitch has no kernel datapath, the default is refused, naming the option."""
    options = dict(attached.chain.linen["ovs"])
    del options["datapathType"]

    answer = attached.call("ADD", attached.conf(ovs=options))

    # 11: the kernel's module is not loaded; 101: it is, but this ovs-vswitchd may not use it.
    assert answer.json["code"] in {11, 101}
    assert "datapathType" in answer.error(answer.json["code"])
    assert attached.host.vsctl("list-br") == ""


def test_linux_bridge_is_gone(attached: Attached) -> None:
    """A Linux bridge that prevResult names and that does not exist is named in the error."""
    attached.host.run("ip", "link", "delete", "kbr0")

    answer = attached.call("ADD")

    assert "kbr0" in answer.error(answer.json["code"])
    answer.assert_no_traceback()


def test_foreign_link_with_the_bridges_name(attached: Attached) -> None:
    """A network device that has the name of our OVS bridge and is none of ours is not touched."""
    attached.host.run("ip", "link", "add", "br0", "type", "veth")

    answer = attached.call("ADD")

    assert "br0" in answer.error(answer.json["code"])
    assert attached.host.links()["br0"].get("master") is None


@pytest.mark.parametrize("peers", [["10.245.2.3"], []])
def test_bridge_that_is_the_nodes_uplink(attached: Attached, peers: list[str]) -> None:
    """An OVS bridge of others with a network card on it gets no tunnel, and goes on no bridge.

    The node would lose its address there, also where it has no peers yet.
    """
    host = attached.host
    host.run("ip", "link", "add", "card", "type", "veth", "peer", "name", "cable")
    host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    host.vsctl("add-port", "br0", "card")

    options = attached.chain.linen["ovs"] | {"vtepIPs": peers}
    text = attached.call("ADD", attached.conf(ovs=options)).error(102)

    assert "isn't Linen's and has the host's card on it" in text
    assert "ovs.ovsBridge" in text
    assert host.vsctl("list-ports", "br0") == "card"
    assert host.links()["br0"].get("master") is None


@pytest.mark.parametrize("owner", [[], ["external_ids:linen-network=red"]], ids=["nobody", "red"])
def test_ovs_bridge_of_others_on_another_linux_bridge(attached: Attached, owner: list[str]) -> None:
    """An OVS bridge of others stays on its Linux bridge; code 102 has the cure.

    It also gets no tunnel, by which that Linux bridge would be joined to the pods of all nodes.
    """
    host = attached.host
    datapath = ("--", "set", "bridge", "br0", f"datapath_type={DATAPATH}", *owner)
    host.vsctl("add-br", "br0", *datapath)
    host.run("ip", "link", "add", "other0", "type", "bridge")
    host.run("ip", "link", "set", "br0", "master", "other0")

    text = attached.call("ADD").error(102)

    assert "OVS bridge br0 hangs on other0" in text
    assert "ovs.ovsBridge" in text
    assert host.links()["br0"]["master"] == "other0"
    assert host.vsctl("list-ports", "br0") == ""
    host.run("ip", "link", "set", "br0", "nomaster")  # one of the two cures that it names
    assert "`ip link set br0 nomaster`" in text
    attached.call("ADD").result()


def on_linux_bridge_br0(plugin: Path, chain: Chain, version: str) -> Attached:
    """A pod on a Linux bridge with the name of the network's OVS bridge."""
    set_version(chain.conflist, version)
    plugin_entry(chain.conflist, "bridge")["bridge"] = "br0"
    return Attached(chain.host, plugin, chain)


@pytest.mark.parametrize("version", ["0.2.0", "1.0.0"])
def test_one_name_for_both_bridges(plugin: Path, chain: Chain, version: str) -> None:
    """An OVS bridge with the Linux bridge's name is never written; code 102 names both options.

    Results older than 0.3.0 do not name the Linux bridge.
    """
    attached = on_linux_bridge_br0(plugin, chain, version)

    text = attached.call("ADD").error(102)

    assert [word for word in ("br0", "`bridge`", "ovs.ovsBridge") if word not in text] == []
    log = chain.host.run("ovsdb-tool", "-m", "show-log", "/run/openvswitch/conf.db").stdout
    assert "table Bridge" not in log


def test_one_name_and_the_ovs_bridge_is_a_row_already(plugin: Path, chain: Chain) -> None:
    """That an OVS bridge is but a row, for the Linux bridge has its name, is told in those words.

    After a start of the machine it is, where the Linux bridge was first.
    """
    attached = on_linux_bridge_br0(plugin, chain, "1.0.0")
    datapath = ("--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    chain.host.run("ovs-vsctl", "--timeout=10", "add-br", "br0", *datapath, check=False)

    assert "ovs.ovsBridge" in attached.call("ADD").error(102)


def test_failed_add_in_the_chain_gives_the_address_back(chain: Chain) -> None:
    """After a failed ADD and the runtime's DEL, bridge and host-local have nothing left over."""
    chain.host.signal("KILL", "ovsdb-server")
    chain.host.add_namespace("pod")

    answer = chain.run("add", "pod")

    assert answer.status == 1
    assert "db.sock" in answer.stderr
    assert chain.delete("pod").status == 0
    leases = chain.host.run("ls", "/var/lib/cni/networks/linen-network").stdout.split()
    assert [name for name in leases if name.startswith("10.")] == []


def behind(attached: Attached, command: str) -> Attached:
    """The same pod, and a plugin that is executed by a command of the shell."""
    script = attached.host.folder / "linen"
    script.write_text(f"#!/bin/sh\nexec {command.format(attached.plugin)}\n")
    script.chmod(0o755)
    attached.plugin = script
    return attached


def test_without_the_right_to_change_links(attached: Attached) -> None:
    """Without CAP_NET_ADMIN the error names the device, the Linux bridge and the capability."""
    confined = behind(attached, "setpriv --bounding-set=-net_admin --inh-caps=-net_admin {}")

    text = confined.call("ADD").error(11)

    assert [word for word in ("br0", "kbr0", "CAP_NET_ADMIN") if word not in text] == []


def test_mtu_that_a_device_does_not_take(attached: Attached) -> None:
    """What else the kernel refuses is told with its reason."""
    attached.host.run("ip", "link", "set", "kbr0", "mtu", "65535")

    text = attached.call("ADD").error(102)

    assert "device br0 cannot be put on Linux bridge kbr0" in text


def test_a_result_that_cannot_be_written(attached: Attached) -> None:
    """An answer that does not reach the runtime is a failure, and standard error says why."""
    answer = behind(attached, "{} >/dev/full").call("ADD")

    assert answer.status == 1
    assert "standard output: No space left on device" in answer.stderr
