# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch away, frozen, or unwilling: an error that helps, in time, and nothing is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.cni import Chain

LIMIT = 5.0  # seconds in which there must be an answer
STARTS_ALLOWED = 3  # in the time that is allowed on top of it


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

    begin = time.monotonic()
    text = attached.call("ADD").error(11)

    assert time.monotonic() - begin < LIMIT + starting
    assert "/var/run/openvswitch/db.sock" in text


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
