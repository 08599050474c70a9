# SPDX-License-Identifier: Apache-2.0
"""Our table of nftables in the real kernel, with `nft` as its witness."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.host import Host

PROLOGUE = """
import json
from linen.netlink.codec import NetlinkError
from linen.netlink.nftables import Nftables, no_vxlan, no_way
nftables = Nftables()
ours = ("linen-blue", [no_vxlan("kbr0", 4789)])
several = ("linen-blue", [no_way("kbr0", "kbr1"), no_vxlan("kbr0", 4789), no_way("kbr1", "kbr0")])
"""


POD_ON_BRIDGE = """
ip link add kbr0 type bridge
ip link set kbr0 up
ip address add 10.0.0.1/24 dev kbr0
ip link delete veth1 2>/dev/null || true
ip link add veth1 master kbr0 up type veth peer name eth0 netns pod
ip -n pod address add 10.0.0.2/24 dev eth0
ip -n pod link set eth0 up
"""

# The ports by which packets arrive that a pod has sent to 4789 and, after that, to 4790.
ARRIVING = """
import socket, subprocess, sys
def bound(port):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("10.0.0.1", port))
    return receiver
first, second = bound(4789), bound(4790)
send = "[sender.sendto(b'x', ('10.0.0.1', port)) for port in (4789, 4790)]"
send = f"import socket; sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); {send}"
subprocess.run(["ip", "netns", "exec", "pod", sys.executable, "-c", send], check=True)
second.settimeout(10)
second.recv(1)
first.setblocking(False)
try:
    print(json.dumps([4789, 4790] if first.recv(1) else []))
except BlockingIOError:
    print(json.dumps([4790]))
"""


@pytest.fixture
def host(host: Host) -> Host:
    """A host with two networks' Linux bridges."""
    for name in "kbr0", "kbr1":
        host.run("ip", "link", "add", name, "type", "bridge")
    return host


def python(host: Host, program: str) -> Any:
    """What a program prints as JSON that runs in the host."""
    return json.loads(host.run(sys.executable, "-c", PROLOGUE + program).stdout)


def ruleset(host: Host) -> list[str]:
    """The firewall as `nft` shows it, a line each."""
    return [line.strip() for line in host.run("nft", "list", "ruleset").stdout.splitlines()]


def test_the_table_is_what_nft_shows(host: Host) -> None:
    """There is one rule, which drops what it is to drop, however often it was asked for."""
    python(host, "nftables.drop(*ours); nftables.drop(*ours); print(1)")

    assert ruleset(host) == [
        "table inet linen-blue {",
        "chain from-kbr0 {",
        'type filter hook ingress device "kbr0" priority raw; policy accept;',
        'udp dport 4789 drop comment "Linen: no VXLAN from pods (kbr0, 4789)"',
        "}",
        "}",
    ]


def test_rules_of_several_kinds(host: Host) -> None:
    """VXLAN is dropped before packets are routed, and what would go between networks after that."""
    assert python(host, "nftables.drop(*several); print(json.dumps(nftables.drops(*several)))")

    assert ruleset(host) == [
        "table inet linen-blue {",
        "chain between-networks {",
        "type filter hook forward priority raw; policy accept;",
        'iifname "kbr0" oifname "kbr1" drop comment "Linen: no way between networks (kbr0, kbr1)"',
        'iifname "kbr1" oifname "kbr0" drop comment "Linen: no way between networks (kbr1, kbr0)"',
        "}",
        "",
        "chain from-kbr0 {",
        'type filter hook ingress device "kbr0" priority raw; policy accept;',
        'udp dport 4789 drop comment "Linen: no VXLAN from pods (kbr0, 4789)"',
        "}",
        "}",
    ]


def test_what_a_bridge_hands_to_its_host_is_dropped(host: Host) -> None:
    """Nothing to the port arrives from behind the bridge, nor from behind one made in its place.

    (A new kernel keeps the rule for a device of this name; an older one forgets it.)
    """
    python(host, "nftables.drop(*ours); print(1)")
    host.add_namespace("pod")
    for _ in range(2):
        host.run("ip", "link", "delete", "kbr0")
        host.run("sh", "-ec", POD_ON_BRIDGE)
        assert python(host, "nftables.drops(*ours) or nftables.drop(*ours)" + ARRIVING) == [4790]
        host.run("nft", "delete", "table", "inet", "linen-blue")
        assert python(host, ARRIVING) == [4789, 4790]
        python(host, "nftables.drop(*ours); print(1)")


def test_a_table_that_is_right_is_known(host: Host) -> None:
    """Only the very rule counts: one for another device or port is another."""
    program = """
before = nftables.drops(*ours)
nftables.drop(*ours)
rules = [no_vxlan("kbr1", 4789)], [no_vxlan("kbr0", 8472)], several[1]
others = [nftables.drops("linen-blue", one) for one in rules]
print(json.dumps([before, nftables.drops(*ours), *others]))
"""
    assert python(host, program) == [False, True, False, False, False]


def test_what_somebody_changed_is_noticed(host: Host) -> None:
    """An emptied firewall, or a rule before ours, is noticed and put right."""
    look = "print(json.dumps(nftables.drops(*ours)))"
    python(host, "nftables.drop(*ours);" + look)
    host.run("nft", "insert", "rule", "inet", "linen-blue", "from-kbr0", "accept")
    assert python(host, look) is False
    assert python(host, "nftables.drop(*ours);" + look) is True

    host.run("nft", "flush", "ruleset")
    assert python(host, look) is False
    assert python(host, "nftables.drop(*ours);" + look) is True


def test_tables_of_others_stay(host: Host) -> None:
    """Ours is removed by its name, and what others have is left as it is."""
    host.run("nft", "add", "table", "inet", "firewall")
    program = """
nftables.drop(*ours)
before = nftables.tables()
nftables.remove("linen-blue")
print(json.dumps([sorted(before), nftables.tables()]))
"""
    assert python(host, program) == [["firewall", "linen-blue"], ["firewall"]]


def test_a_table_that_is_not_there_cannot_be_removed(host: Host) -> None:
    """The kernel's answer is not taken for success."""
    program = """
try:
    nftables.remove("linen-blue")
except NetlinkError as error:
    print(error.errno)
"""
    assert python(host, program) == 2
