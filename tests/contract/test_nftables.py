# SPDX-License-Identifier: Apache-2.0
"""Our table of nftables in the real kernel, with `nft` as its witness."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.host import Host

PROLOGUE = """
import json
from linen.netlink.codec import NetlinkError
from linen.netlink.nftables import Nftables, no_vxlan, no_way
nftables = Nftables()
ours = ("linen-blue", no_vxlan("kbr0", 4789, ipvs=False))
with_ipvs = ("linen-blue", no_vxlan("kbr0", 4789, ipvs=True))
ways = [no_way("kbr0", "kbr1"), no_way("kbr1", "kbr0")]
several = ("linen-blue", [ways[0], *ours[1], ways[1]])
"""
DROPPED = 'udp dport 4789 iifname "kbr0" drop comment "Linen: no VXLAN from pods (kbr0, 4789)"'
FIRST = [
    "table inet linen-blue {",
    "chain from-pods {",
    "type filter hook prerouting priority 300; policy accept;",
    DROPPED,
    "}",
]


def python(host: Host, program: str) -> Any:
    """What a program prints as JSON that runs in the host."""
    return json.loads(host.run(sys.executable, "-c", PROLOGUE + program).stdout)


def ruleset(host: Host) -> list[str]:
    """The firewall as `nft` shows it, a line each."""
    return [line.strip() for line in host.run("nft", "list", "ruleset").stdout.splitlines()]


def test_the_table_is_what_nft_shows(host: Host) -> None:
    """There is one rule, which drops what it is to, however often it is asked for.

    It comes after translations, which may make VXLAN of what was none.
    """
    python(host, "nftables.drop(*ours); nftables.drop(*ours); print(1)")

    assert ruleset(host) == [*FIRST, "}"]


def test_the_table_where_there_is_ipvs(host: Host) -> None:
    """There is a rule each behind the places where IPVS translates, too."""
    python(host, "nftables.drop(*with_ipvs); print(1)")

    assert ruleset(host) == [
        *FIRST,
        "",
        "chain to-this-node {",
        "type filter hook input priority 300; policy accept;",
        DROPPED,
        "}",
        "",
        "chain out-of-this-node {",
        "type filter hook postrouting priority 300; policy accept;",
        DROPPED,
        "}",
        "}",
    ]


def test_rules_of_several_kinds(host: Host) -> None:
    """What would go between networks is dropped last, where all that is handed on comes by."""
    assert python(host, "nftables.drop(*several); print(json.dumps(nftables.drops(*several)))")

    assert ruleset(host) == [
        *FIRST,
        "",
        "chain out-of-this-node {",
        "type filter hook postrouting priority 300; policy accept;",
        'iifname "kbr0" oifname "kbr1" drop comment "Linen: no way between networks (kbr0, kbr1)"',
        'iifname "kbr1" oifname "kbr0" drop comment "Linen: no way between networks (kbr1, kbr0)"',
        "}",
        "}",
    ]


def test_a_table_that_is_right_is_known(host: Host) -> None:
    """Only the very rules count: one for another device or port is another."""
    program = """
before = nftables.drops(*ours)
nftables.drop(*ours)
rules = no_vxlan("kbr1", 4789, ipvs=False), no_vxlan("kbr0", 8472, ipvs=False), several[1]
others = [nftables.drops("linen-blue", one) for one in rules]
print(json.dumps([before, nftables.drops(*ours), *others]))
"""
    assert python(host, program) == [False, True, False, False, False]


def test_a_table_of_an_earlier_version_is_replaced(host: Host) -> None:
    """A table with more rules, or fewer, is not taken for ours of today, which takes its place."""
    program = """
nftables.drop(*with_ipvs)
before = nftables.drops(*ours)
nftables.drop(*ours)
print(json.dumps([before, nftables.drops(*ours), nftables.tables()]))
"""
    assert python(host, program) == [False, True, ["linen-blue"]]
    assert ruleset(host)[: len(FIRST)] == FIRST


# A node with a tunnel of the kernel's on its pods' bridge, a pod, and another node that hears all
# that comes to VXLAN's port. The firewall translates as kube-proxy does for Services.
SCENE = """
ip netns add pod
ip netns add other
ip link add name kbr0 type bridge
ip address add 10.244.1.1/16 dev kbr0
ip link add name port type veth peer name eth0 netns pod
ip link set dev port master kbr0
ip -n pod address add 10.244.1.2/16 brd + dev eth0
ip link add name wire type veth peer name eth0 netns other
ip address add 10.245.0.1/16 dev wire
ip -n other address add 10.245.0.2/16 dev eth0
ip link add name tunnel type vxlan id 7 local 10.245.0.1 remote 10.245.0.2 dstport 4789 dev wire
ip link set dev tunnel master kbr0
ip link set dev kbr0 up
ip link set dev port up
ip link set dev wire up
ip link set dev tunnel up
ip -n pod link set dev eth0 up
ip -n other link set dev eth0 up
ip -n pod route add default via 10.244.1.1
ip -n other route add default via 10.245.0.1
sysctl --write net.ipv4.ip_forward=1
nft add table ip proxy
nft add chain ip proxy services { type nat hook prerouting priority dstnat; }
nft add rule ip proxy services ip daddr 10.96.0.10 udp dport 53 dnat to 10.245.0.2:4789
nft add rule ip proxy services ip daddr 10.96.0.10 udp dport 54 dnat to 10.245.0.1:4790
"""
# What comes to VXLAN's port of the other node, and to a port of the pod's own node, by its words.
HEARD = """
import os, subprocess, sys
HEARER = '''
import socket, sys
hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hearer.bind(("", int(sys.argv[1])))
hearer.settimeout(20)
print("ready", flush=True)
data = b""
while b"last" not in data:
    data = hearer.recv(2048)
    print(*[word for word in ("direct", "other", "own", "last") if word.encode() in data])
'''
SENDER = '''
import socket
pod = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
pod.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
pod.sendto(b"direct", ("10.245.0.2", 4789))
pod.sendto(b"other", ("10.96.0.10", 53))
pod.sendto(b"own", ("10.96.0.10", 54))
pod.sendto(b"last", ("10.244.255.255", 9))  # by the tunnel
'''
LAST = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'last', ('10.245.0.1', 4790))"
python = [sys.executable, "-c"]
inside = lambda name: ["ip", "netns", "exec", name, *python]
def heard():
    hearers = [
        subprocess.Popen([*command, HEARER, port], stdout=subprocess.PIPE, text=True)
        for command, port in ((inside("other"), "4789"), (python, "4790"))
    ]
    for hearer in hearers:
        assert hearer.stdout.readline() == "ready\\n"
    subprocess.run([*inside("pod"), SENDER], check=True)
    subprocess.run([*python, LAST], check=True)
    return [hearer.communicate(timeout=30)[0].split() for hearer in hearers]
"""


def test_what_is_translated_to_the_port(host: Host) -> None:
    """VXLAN by way of a Service is dropped as well, to another node and to the own.

    What the node itself sends from its pods' bridge by a tunnel of the kernel's is not, nor is what
    it sends to itself.
    """
    for line in SCENE.strip().splitlines():
        host.run(*line.split())
    program = """
before = heard()
rules = [rule for port in (4789, 4790) for rule in no_vxlan("kbr0", port, ipvs=False)]
nftables.drop("linen-blue", rules)
print(json.dumps([before, heard()]))
"""
    open_, closed = python(host, HEARD + program)

    assert open_ == [["direct", "other", "last"], ["own", "last"]]
    assert closed == [["last"], ["last"]]


def test_what_somebody_changed_is_noticed(host: Host) -> None:
    """An emptied firewall, or a rule before ours, is noticed and put right."""
    look = "print(json.dumps(nftables.drops(*ours)))"
    python(host, "nftables.drop(*ours);" + look)
    host.run("nft", "insert", "rule", "inet", "linen-blue", "from-pods", "accept")
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


def test_a_kernel_without_nftables(host: Host) -> None:
    """Where nfnetlink is there and nf_tables is not, there are no tables, and that is no error."""
    program = """
from linen.netlink import nftables as module
module.SUBSYSTEM = 200  # which no kernel has
print(json.dumps(nftables.tables()))
"""
    assert python(host, program) == []


def test_a_table_that_is_not_there_cannot_be_removed(host: Host) -> None:
    """The kernel's answer is not taken for success."""
    program = """
try:
    nftables.remove("linen-blue")
except NetlinkError as error:
    print(error.errno)
"""
    assert python(host, program) == 2
