# SPDX-License-Identifier: Apache-2.0
"""What our tables of nftables drop of what a pod sends, in the real kernel, with packets."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.host import Host

# A node with a tunnel of the kernel's on its pods' bridge, a pod, and another node that hears all
# that comes to VXLAN's port. The firewall translates as kube-proxy does for Services.
SCENE = """
ip netns add pod
ip netns add other
sysctl --write net.ipv4.conf.default.rp_filter=0
sysctl --write net.ipv4.conf.all.rp_filter=0
ip link add name kbr0 address 02:00:00:00:00:01 type bridge
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
nft add chain ip proxy services '{ type nat hook prerouting priority dstnat; }'
nft add rule ip proxy services ip daddr 10.96.0.10 udp dport 53 dnat to 10.245.0.2:4789
nft add rule ip proxy services ip daddr 10.96.0.10 udp dport 54 dnat to 10.245.0.1:4790
"""
# What comes to a port of VXLAN's of the other node, and of the pod's own node, by its words.
HEARD = """
import json, socket, subprocess, sys
from linen.netlink.drop_rules import from_underlay, no_tags, no_vxlan, no_vxlan_to_groups
from linen.netlink.linux_bridge import filters_vlans
from linen.netlink.nftables import Nftables
HEARER = '''
import socket, sys
hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hearer.bind(("", int(sys.argv[1])))
hearer.settimeout(20)
print("ready", flush=True)
data = b""
while b"last" not in data:
    data = hearer.recv(2048)
    if data[0] == 8:  # VXLAN's own, of the node's tunnel: of what the pod sends to all
        data = b"last" if b"last" in data else b""
    print(data.decode())
'''
SENDER = '''
import socket, struct
pod = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
pod.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
pod.sendto(b"direct", ("10.245.0.2", 4789))
pod.sendto(b"direct", ("10.245.0.1", 4790))
pod.sendto(b"service", ("10.96.0.10", 53))
pod.sendto(b"service", ("10.96.0.10", 54))
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
frames.bind(("eth0", 0))
def checksum(data):
    total = sum(struct.unpack("!10H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
def send(word, target, port, addressee="020000000001", tags=()):
    head = struct.pack("!HHHH", 5555, port, 8 + len(word), 0)
    ends = socket.inet_aton("10.244.1.2") + socket.inet_aton(target)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(word), 0, 0, 64, 17, 0) + ends
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    ethernet = bytes.fromhex(addressee) + sender + b"".join(tags)
    frames.send(ethernet + bytes.fromhex("0800") + ip + head + word.encode())
sender = frames.getsockname()[4]
for number in 0, 2, 14:
    send(f"group {number}", "10.245.0.1", 4790, f"0180c20000{number:02x}")
send("everybody", "10.245.0.1", 4790, "ffffffffffff")
tag, outer = bytes.fromhex("81000000"), bytes.fromhex("88a8e000")
for word, tags in ("tag", [tag]), ("two tags", [tag, tag]), ("outer tag", [outer, tag]):
    send(word, "10.96.0.10", 53, tags=tags)
    send(word, "10.96.0.10", 54, tags=tags)
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
    words = [hearer.communicate(timeout=30)[0].split("\\n") for hearer in hearers]
    return [sorted(filter(None, one)) for one in words]
def drop(is_translated):
    ports = 4789, 4790
    rules = [from_underlay("wire", socket.if_nametoindex("wire"))]
    rules += [no_vxlan_to_groups(port) for port in ports]
    for port in ports:
        rules += no_vxlan("kbr0", port, is_translated=is_translated, ipvs=False)
    nftables.drop("linen-blue", rules + no_tags("kbr0") if is_translated else rules)
nftables = Nftables()
"""


def python(host: Host, program: str) -> Any:
    """What a program prints as JSON that runs in the host."""
    return json.loads(host.run(sys.executable, "-c", HEARD + program).stdout)


pytestmark = pytest.mark.datapath  # another kernel, which is older


@pytest.fixture
def node(host: Host) -> Host:
    """The scene."""
    host.run("sh", "-ec", SCENE)
    return host


def test_the_ways_are_open(node: Host) -> None:
    """All of it would arrive, or the other tests would show nothing."""
    others, own = python(node, "print(json.dumps(heard()))")

    tagged = ["outer tag", "tag", "two tags"]
    assert others == ["direct", "last", *tagged[:1], "service", *tagged[1:]]
    groups = ["group 0", "group 14", "group 2"]
    assert own == ["direct", "everybody", *groups, "last", "outer tag", "service", *tagged[1:]]


@pytest.mark.parametrize("is_translated", [True, False])
def test_nothing_gets_through(node: Host, *, is_translated: bool) -> None:
    """VXLAN is dropped, to another node and to the own, also by way of a Service.

    Where the firewall sees what the Linux bridge carries, it is enough to look at what that hands
    to the host; elsewhere what the host hands on is looked at.

    What the node itself sends from its pods' bridge by a tunnel of the kernel's is not dropped, nor
    is what it sends to itself.
    """
    node.run("sysctl", "--write", f"net.bridge.bridge-nf-call-iptables={int(is_translated)}")

    assert python(node, f"drop({is_translated}); print(json.dumps(heard()))") == [
        ["last"],
        ["last"],
    ]


LOOK = "print(json.dumps([filters_vlans(name) for name in ('kbr0', 'port', 'nowhere')]))"


def test_a_bridge_that_takes_all(node: Host) -> None:
    """It is told from one that filters VLANs, and from what is no Linux bridge."""
    assert python(node, LOOK) == [False, None, None]


@pytest.mark.uml
def test_a_bridge_that_filters_vlans(node: Host) -> None:
    """It takes off tags that nothing has seen yet, so what the host hands on is looked at."""
    node.run("ip", "link", "set", "dev", "kbr0", "type", "bridge", "vlan_filtering", "1")

    assert python(node, LOOK) == [True, None, None]
    assert python(node, "drop(True); print(json.dumps(heard()))")[0] == ["last", "tag"]
    assert python(node, "drop(False); print(json.dumps(heard()))") == [["last"], ["last"]]
