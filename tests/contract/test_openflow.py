# SPDX-License-Identifier: Apache-2.0
"""Our OpenFlow client against the real ovs-vswitchd, with ovs-ofctl as its witness."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from typing import TYPE_CHECKING

import pytest

from linen.core import errors, flows
from linen.core.routes import Route
from linen.flaxd.rules import REPLICATE_LIMIT
from linen.openflow import table, wire
from linen.openflow.session import Session
from support.host import DATAPATH, VSWITCHD
from support.notices import Notice, running
from support.sessions import impostor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from support.host import Host

UNDERLAY = """
ip link add eth0 type veth peer name cable
ip link set eth0 up
ip link set cable up
ovs-vsctl add-port br0 vx -- set interface vx type=vxlan options:remote_ip=flow options:key=7
ovs-vsctl add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy eth0
ip link set br-phy up
"""
OUTLET = flows.Outlet(port=1, vni=7)
MAC = b"\x02\0\0\0\0\x01"
NODE2 = Route("node2", "10.245.2.3", ["10.244.2.0/24", "fd00:2::/64", "10.244.9.9/32"])
NODE3 = Route("node3", "fd00::3", ["10.244.3.0/24", "fd00:3::7/128"])

SENT_TO_2 = "actions=set_field:10.245.2.3->tun_dst,set_field:0x7->tun_id,output:1"
SENT_TO_3 = "actions=set_field:fd00::3->tun_ipv6_dst,set_field:0x7->tun_id,output:1"
SENT_TO_MANY = (
    "actions=set_field:0x7->tun_id,set_field:fd00::3->tun_ipv6_dst,output:1,"
    "set_field:fd00::4->tun_ipv6_dst,output:1"
)
BY_NODE = "in_port=LOCAL,dl_src=02:00:00:00:00:01"
ASKS_FOR_A_POD = "icmp_type=135,icmp_code=0,nd_target=fd00::/16"
UNDER_10 = "actions=set_field:0x1->reg0,set_field:10.244.1.1->arp_spa"
UNDER_FD00 = "actions=set_field:fd00:1::1->ipv6_src"
AGAIN = "resubmit(,0)"
SHOWN = {
    "priority=65535,udp,in_port=LOCAL,tp_dst=4789 actions=drop",
    "priority=65535,udp6,in_port=LOCAL,tp_dst=4789 actions=drop",
    "priority=0 actions=drop",
    f"priority=350,arp,reg0=0,{BY_NODE},arp_op=1 {UNDER_10},{AGAIN}",
    f"priority=350,icmp6,{BY_NODE},ipv6_src=fe80::/10,{ASKS_FOR_A_POD} {UNDER_FD00},{AGAIN}",
    f"priority=200,in_port=LOCAL,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 {SENT_TO_MANY}",
    "priority=100,tun_id=0x7,tun_src=10.245.2.3 actions=LOCAL",
    f"priority=100,ip,in_port=LOCAL,nw_dst=10.244.2.0/24 {SENT_TO_2}",
    f"priority=300,arp,in_port=LOCAL,arp_tpa=10.244.2.0/24 {SENT_TO_2}",
    f"priority=100,ipv6,in_port=LOCAL,ipv6_dst=fd00:2::/64 {SENT_TO_2}",
    f"priority=300,icmp6,in_port=LOCAL,icmp_type=135,icmp_code=0,nd_target=fd00:2::/64 {SENT_TO_2}",
    f"priority=100,ip,in_port=LOCAL,nw_dst=10.244.9.9 {SENT_TO_2}",
    f"priority=300,arp,in_port=LOCAL,arp_tpa=10.244.9.9 {SENT_TO_2}",
    "priority=100,tun_id=0x7,tun_ipv6_src=fd00::3 actions=LOCAL",
    f"priority=100,ip,in_port=LOCAL,nw_dst=10.244.3.0/24 {SENT_TO_3}",
    f"priority=300,arp,in_port=LOCAL,arp_tpa=10.244.3.0/24 {SENT_TO_3}",
    f"priority=100,ipv6,in_port=LOCAL,ipv6_dst=fd00:3::7 {SENT_TO_3}",
    f"priority=300,icmp6,in_port=LOCAL,icmp_type=135,icmp_code=0,nd_target=fd00:3::7 {SENT_TO_3}",
}


def every_kind() -> dict[bytes, bytes]:
    """Rules of each kind that there is."""
    rules = [
        *flows.common_rules(OUTLET),
        flows.broadcast_rule(OUTLET, [NODE3, Route("node4", "fd00::4", [])]),
        *flows.asker_rules(MAC, ["10.244.1.1", "fd00:1::1"], ["10.244.0.0/16", "fd00::/16"]),
        *flows.peer_rules(OUTLET, NODE2),
        *flows.peer_rules(OUTLET, NODE3),
    ]
    return dict(map(wire.entry, rules))


@pytest.fixture
def bridge(host: Host) -> Host:
    """A host with an OVS bridge `br0` without rules but the one that Open vSwitch makes."""
    host.vsctl("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
    return host


def socket_of(host: Host) -> str:
    return f"/proc/{host.pid}/root/run/openvswitch/br0.mgmt"


@contextlib.asynccontextmanager
async def session(path: str | Path, *, silence: float = 5) -> AsyncIterator[tuple[Session, Notice]]:
    """A running session, not connected yet."""
    notice = Notice()
    watching = Session(str(path), notice, silence=silence)
    async with running(watching.run()):
        yield watching, notice


@contextlib.asynccontextmanager
async def connected(
    path: str | Path, *, silence: float = 5
) -> AsyncIterator[tuple[Session, Notice]]:
    """A running session that knows the bridge's rules."""
    async with session(path, silence=silence) as (watching, notice):
        await notice.until(lambda: watching.connected, "a connection")
        yield watching, notice


async def install(watching: Session, wanted: dict[bytes, bytes]) -> table.Changes:
    """Bring the rules in line with those wanted; what that took."""
    changes = difference(wanted, watching)
    await watching.apply(changes)
    return changes


def difference(wanted: dict[bytes, bytes], watching: Session) -> table.Changes:
    """What leads from the rules there are to those wanted."""
    comparison = table.Comparison()
    comparison.want(wire.Entry(*rule) for rule in wanted.items())
    return comparison.difference(watching.table)


def shown(host: Host) -> set[str]:
    """The rules as ovs-ofctl shows them, without what changes by itself."""
    text = host.run("ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", "br0").stdout
    lines = (line.strip() for line in text.splitlines() if "actions=" in line)
    return {line.removeprefix("cookie=0x6c696e6500000001, ") for line in lines}


def ofctl(host: Host, *words: str) -> None:
    host.run("ovs-ofctl", "-OOpenFlow14", words[0], "br0", *words[1:])


def test_rules_are_what_ovs_ofctl_shows(bridge: Host) -> None:
    """Each kind of rule means to Open vSwitch what it is to mean."""

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, _):
            await install(watching, every_kind())

    asyncio.run(scenario())

    assert shown(bridge) == SHOWN


def test_rules_are_read_as_they_were_written(bridge: Host) -> None:
    """Who connects later finds nothing to change: a restart of the daemon touches no rule."""

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, _):
            await install(watching, every_kind())
        async with connected(socket_of(bridge)) as (later, _):
            assert later.table.rules == every_kind()
            assert difference(every_kind(), later) == ([], [])

    asyncio.run(scenario())


def test_the_rule_that_open_vswitch_makes_is_replaced(bridge: Host) -> None:
    """A bridge that has just been made floods; our last rule takes the place of that."""
    assert shown(bridge) == {"priority=0 actions=NORMAL"}

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, _):
            assert watching.table.foreign == 1
            await install(watching, every_kind())
            assert watching.table.foreign == 0

    asyncio.run(scenario())

    assert shown(bridge) == SHOWN


def test_a_bundle_is_carried_out_whole_or_not_at_all(bridge: Host) -> None:
    """When Open vSwitch refuses one rule, none of the others is there, before or behind it."""
    nowhere = flows.Rule(7, (), ((flows.OUTPUT, b"\xff\xff\xff\x01"),))
    entries = list(every_kind().items())
    wanted = dict([*entries[:5], wire.entry(nowhere), *entries[5:]])
    before = shown(bridge)

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, notice):
            with pytest.raises(errors.OvsRefused, match=r"br0\.mgmt refuses rules"):
                await install(watching, wanted)
            await notice.until(lambda: not watching.connected, "the end of the connection")

    asyncio.run(scenario())

    assert shown(bridge) == before


def test_changes_of_others_are_seen_and_put_right(bridge: Host) -> None:
    """What somebody deletes, changes or adds is known at once; what is not ours stays."""

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, notice):
            wanted = every_kind()
            await install(watching, wanted)
            for words in ("del-flows", "arp"), ("mod-flows", "ip,actions=NORMAL"):
                await asyncio.to_thread(ofctl, bridge, *words)
                await notice.until(lambda: watching.table.rules != wanted, "the news")
                await install(watching, wanted)
                assert watching.table.rules == wanted
            await asyncio.to_thread(ofctl, bridge, "add-flow", "priority=999,actions=NORMAL")
            await notice.until(lambda: watching.table.foreign, "the news of a foreign rule")
            assert difference(wanted, watching) == ([], [])

    asyncio.run(scenario())

    assert shown(bridge) == SHOWN | {"priority=999 actions=NORMAL"}


def test_own_changes_are_no_news(bridge: Host) -> None:
    """Open vSwitch does not tell us what we have just told it, so nothing runs in circles."""

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, notice):
            calls = notice.calls
            await install(watching, every_kind())
            await install(watching, {})
            await asyncio.to_thread(ofctl, bridge, "add-flow", "priority=9,actions=drop")
            await notice.until(lambda: watching.table.foreign, "the news of a foreign rule")
            assert notice.calls == calls + 1

    asyncio.run(scenario())


@pytest.mark.parametrize("underlay", ["10.245.0.1/16", "fd00::1/64"])
def test_the_limit_of_replication(bridge: Host, underlay: str) -> None:
    """A packet to everybody leaves for as many nodes as the daemon replicates to, and not fewer."""
    first = ipaddress.ip_interface(underlay).ip
    vteps = [str(first + number) for number in range(1, REPLICATE_LIMIT + 1)]
    for command in UNDERLAY.strip().splitlines():
        bridge.run(*command.split())
    bridge.run("ip", "address", "add", underlay, "dev", "br-phy")
    introduce(bridge, vteps)
    routes = [Route(vtep, vtep, []) for vtep in vteps]

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, _):
            await install(watching, dict([wire.entry(flows.broadcast_rule(OUTLET, routes))]))

    asyncio.run(scenario())

    packet = "in_port=LOCAL,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88b5"
    traced = bridge.run("ovs-appctl", "ofproto/trace", "br0", packet).stdout
    assert traced.partition("Datapath actions:")[2].count("tnl_push") == REPLICATE_LIMIT


def introduce(host: Host, vteps: Iterable[str]) -> None:
    """Tell ovs-vswitchd the MACs of other nodes, as `ovs-appctl tnl/neigh/set` does for one."""
    pid = host.daemon("ovs-vswitchd")
    calls = [
        {"id": number, "method": "tnl/neigh/set", "params": ["br-phy", vtep, "02:00:00:00:00:02"]}
        for number, vtep in enumerate(vteps)
    ]
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(f"/proc/{host.pid}/root/run/openvswitch/ovs-vswitchd.{pid}.ctl")
        control.settimeout(30)
        for call in calls:
            control.sendall(json.dumps(call).encode())
            assert json.loads(control.recv(4096))["error"] is None


def test_other_tables_are_nobody_s_business(bridge: Host) -> None:
    """Rules of tables that no packet gets to are neither read nor counted."""
    ofctl(bridge, "add-flow", "table=9,actions=drop")

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, _):
            assert len(watching.table.rules) == 1

    asyncio.run(scenario())


def test_restart_of_the_switch(bridge: Host) -> None:
    """A restarted ovs-vswitchd is found again, without rules, and takes them."""

    async def scenario() -> None:
        async with connected(socket_of(bridge)) as (watching, notice):
            await install(watching, every_kind())
            await asyncio.to_thread(bridge.signal, "KILL", "ovs-vswitchd")
            await notice.until(lambda: not watching.connected, "the loss")
            with pytest.raises(errors.Unavailable, match=r"br0\.mgmt is not available"):
                await watching.apply(table.Changes([], []))
            await asyncio.to_thread(start_switch, bridge)
            await notice.until(lambda: watching.connected, "the new switch")
            await install(watching, every_kind())

    asyncio.run(scenario())

    assert shown(bridge) == SHOWN


def start_switch(host: Host) -> None:
    host.run("sh", "-c", f"cd /run/openvswitch && {VSWITCHD}")


def test_a_bridge_without_our_version_is_told_apart(bridge: Host) -> None:
    """A bridge that may not speak OpenFlow 1.4 is named as the cause, with what to do."""
    bridge.vsctl("set", "bridge", "br0", "protocols=OpenFlow10")

    async def scenario() -> None:
        async with session(socket_of(bridge)) as (watching, notice):
            await notice.until(lambda: "Bridge.protocols" in watching.problem, "the reason")

    asyncio.run(scenario())


def test_a_silent_switch_is_given_up(bridge: Host) -> None:
    """A switch that hangs is given up, callers never wait for ever, and it is found again."""

    async def scenario() -> None:
        async with connected(socket_of(bridge), silence=0.2) as (watching, notice):
            await asyncio.to_thread(bridge.signal, "STOP", "ovs-vswitchd")
            with pytest.raises(errors.Unavailable, match="no answer"):
                await watching.apply(table.Changes([], []))
            await notice.until(lambda: not watching.connected, "the loss")
            await asyncio.to_thread(bridge.signal, "CONT", "ovs-vswitchd")
            await notice.until(lambda: watching.connected, "the switch that goes on")

    asyncio.run(scenario())


def test_what_is_no_switch_is_said_to_be_none(short_folder: Path) -> None:
    """A server that speaks something else is named, and nothing is believed."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x05\x00\x00\x00not OpenFlow at all")

    async def scenario() -> None:
        path = short_folder / "br0.mgmt"
        async with impostor(path, serve), session(path) as (watching, notice):
            await notice.until(lambda: "no OpenFlow switch" in watching.problem, "the reason")
            assert not watching.connected

    asyncio.run(scenario())


def test_a_socket_that_is_not_there_is_waited_for(host: Host) -> None:
    """The session says why there is no connection, and is there when the bridge is."""

    async def scenario() -> None:
        async with session(socket_of(host)) as (watching, notice):
            await notice.until(lambda: watching.problem == "No such file or directory", "a reason")
            bridge = ("add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={DATAPATH}")
            await asyncio.to_thread(host.vsctl, *bridge)
            await notice.until(lambda: watching.connected, "the connection")

    asyncio.run(scenario())
