# SPDX-License-Identifier: Apache-2.0
"""Our few netlink messages against the kernel, with pyroute2 as the oracle."""

from __future__ import annotations

import errno
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.host import Host

SETUP = """
ip link add kbr0 mtu 1400 type bridge
ip link set kbr0 up
ip link add veth0 type veth peer name eth0 netns /run/netns/pod
ip link set veth0 master kbr0 up
ip link add br0 type veth peer name br0-end
ip link add far mtu 1450 type veth peer name far-end
ip link set far-end up
ip link set far up
ip address add 10.245.2.2/24 dev far
ip address add fd00::2/64 dev far nodad
"""

OURS = """
import json, os
from linen.netlink.blocking import Netlink
netlink = Netlink()
names = "index", "name", "kind", "mtu", "up", "master"
def plain(link):
    return link and {name: getattr(link, name) for name in names}
"""

ORACLE = """
import json
from pyroute2 import IPRoute
with IPRoute() as ip:
    links = {link.get("ifname"): link for link in ip.get_links()}
print(json.dumps({name: {
    "index": link["index"],
    "name": name,
    "kind": link.get(("linkinfo", "kind")) or "",
    "mtu": link.get("mtu"),
    "up": bool(link["flags"] & 1),
    "master": link.get("master") or 0,
} for name, link in links.items()}))
"""


def prepared(host: Host) -> Host:
    """The host with some links."""
    host.add_namespace("pod")
    for line in SETUP.strip().splitlines():
        host.run(*line.split())
    return host


def python(host: Host, program: str) -> Any:
    """What a Python program prints on the host, as JSON."""
    done = host.run(sys.executable, "-I", "-c", textwrap.dedent(program))
    return json.loads(done.stdout)


def test_links_as_pyroute2_sees_them(host: Host) -> None:
    """Index, kind, MTU, state and master of every link are what pyroute2 reads."""
    prepared(host)

    ours = python(host, OURS + "print(json.dumps({l.name: plain(l) for l in netlink.links()}))")

    assert ours == python(host, ORACLE)


def test_one_link_by_name_and_index(host: Host) -> None:
    """A link found by name is the one found by its index; what does not exist is None."""
    prepared(host)

    by_name, by_index, absent = python(
        host,
        OURS
        + """
link = netlink.find_link("kbr0")
found = link, netlink.find_link_at(link.index), netlink.find_link("nobody")
print(json.dumps([plain(one) for one in found]))
""",
    )

    assert by_name == by_index == python(host, ORACLE)["kbr0"]
    assert absent is None


def test_enslaving_keeps_the_mac(host: Host) -> None:
    """A port with a lower MAC and a smaller MTU joins the Linux bridge, which keeps its own.

    It gets all multicast packets.
    """
    prepared(host)
    host.run("ip", "link", "set", "br0", "address", "02:00:00:00:00:01", "mtu", "1450")
    before = host.links()["kbr0"]

    python(
        host,
        OURS
        + """
netlink.enslave(netlink.find_link("br0"), netlink.find_link("kbr0"))
print("null")
""",
    )

    links = host.links()
    assert links["br0"]["master"] == "kbr0"
    assert "UP" in links["br0"]["flags"]
    assert links["kbr0"]["address"] == before["address"]
    assert links["kbr0"]["mtu"] == links["br0"]["mtu"] == before["mtu"]
    assert host.run("cat", "/sys/class/net/br0/brport/multicast_router").stdout == "2\n"


LOW, LOWER = "02:00:00:00:00:50", "02:00:00:00:00:10"

LATE = """
import subprocess
def ip(line):
    subprocess.run(["ip", *line.split()], check=True)
port, bridge = netlink.find_link("br0"), netlink.find_link("kbr0")
ip("link set dev veth1 master kbr0")
"""


def with_a_lower_mac_to_come(host: Host) -> Host:
    """The host, whose Linux bridge has the MAC of its only port, and a second one with a lower."""
    prepared(host)
    host.run("ip", "link", "set", "veth0", "address", LOW)
    host.run("ip", "link", "add", "veth1", "address", LOWER, "type", "veth", "peer", "name", "end1")
    assert host.links()["kbr0"]["address"] == LOW
    return host


def test_enslaving_with_an_old_look(host: Host) -> None:
    """The Linux bridge keeps the MAC that it has, not the one that it had when it was looked at."""
    with_a_lower_mac_to_come(host)

    python(host, OURS + LATE + "netlink.enslave(port, bridge)\nprint('null')")

    links = host.links()
    assert links["kbr0"]["address"] == LOWER
    assert links["br0"]["master"] == "kbr0"


def test_enslaving_twice(host: Host) -> None:
    """A port that another has put on the Linux bridge meanwhile stays as it is."""
    with_a_lower_mac_to_come(host)

    python(
        host,
        OURS
        + LATE
        + """
netlink.enslave(port, netlink.find_link("kbr0"))
ip("link set dev kbr0 mtu 1300")
netlink.enslave(port, bridge)
print("null")
""",
    )

    links = host.links()
    assert links["kbr0"]["address"] == LOWER
    assert [links[name]["mtu"] for name in ("kbr0", "br0")] == [1300, 1500]


def test_enslaving_what_is_gone(host: Host) -> None:
    """A link that is gone is the kernel's error for that."""
    prepared(host)

    number = python(
        host,
        OURS
        + """
import subprocess
from linen.netlink.codec import NetlinkError
port, bridge = netlink.find_link("br0"), netlink.find_link("kbr0")
subprocess.run(["ip", "link", "delete", "br0"], check=True)
try:
    netlink.enslave(port, bridge)
except NetlinkError as error:
    print(error.errno)
""",
    )

    assert number == errno.ENODEV


def test_routes(host: Host) -> None:
    """A peer's route names its device, an own address is local, and no route is None."""
    prepared(host)

    peer, own, peer6, own6, nowhere = python(
        host,
        OURS
        + """
wanted = "10.245.2.3", "10.245.2.2", "fd00::3", "fd00::2", "198.51.100.1"
routes = [netlink.find_route(address) for address in wanted]
print(json.dumps([r and [r.is_local, r.link == netlink.find_link("far").index] for r in routes]))
""",
    )

    assert [peer, peer6] == [[False, True]] * 2
    assert [own[0], own6[0]] == [True, True]
    assert nowhere is None


def test_bindable_addresses(host: Host) -> None:
    """Only own addresses can be bound to, each of them again, unless sockets may have any."""
    wanted = ["10.245.2.3", "10.245.2.2", "fd00::3", "fd00::2", "10.245.2.2", "198.51.100.1"]
    program = f"""
import json
from linen.light import sock
print(json.dumps(sock.find_bindable({wanted})))
"""
    bindable = python(prepared(host), program)
    host.run("sysctl", "-w", "net.ipv4.ip_nonlocal_bind=1")

    assert bindable == ["10.245.2.2", "fd00::2", "10.245.2.2"]
    assert python(host, program) == [address for address in wanted if address != "fd00::3"]


def test_a_kernel_without_routes_of_an_ip_version(host: Host) -> None:
    """There is no route where the kernel has none at all, as of IPv6 that is off since the boot."""
    program = """
from linen.netlink import codec
codec.AF_INET6 = 4  # AF_IPX, for which no kernel has routes any more
print(json.dumps([netlink.find_route("fd00::3"), sorted(netlink.own_addresses(["fd00::3"]))]))
"""
    assert python(prepared(host), OURS + program) == [None, []]


def test_namespace_of_a_pods_other_end(host: Host) -> None:
    """The host's end of a pod's link names the pod's network namespace."""
    prepared(host)

    named, asked, none = python(
        host,
        OURS
        + """
links = {link.name: link.peer_netns for link in netlink.links()}
pod = netlink.netns_id(os.open("/run/netns/pod", os.O_RDONLY))
print(json.dumps([links["veth0"], pod, links["kbr0"]]))
""",
    )

    assert named == asked
    assert named >= 0
    assert none is None


def test_pods_end_of_a_link(host: Host) -> None:
    """A link that is looked for in the pod's network namespace is the host's end's other end."""
    prepared(host)

    found, peer, absent = python(
        host,
        OURS
        + """
links = {link.name: link for link in netlink.links()}
pod = netlink.netns_id(os.open("/run/netns/pod", os.O_RDONLY))
found = netlink.find_link("eth0", pod)
print(json.dumps([
    [found.name, found.index, found.peer == links["veth0"].index],
    links["veth0"].peer,
    [netlink.find_link("veth0", pod), netlink.find_link("eth0"), links["kbr0"].peer],
]))
""",
    )

    assert found == ["eth0", peer, True]
    assert absent == [None, None, 0]


def test_generic_families(host: Host) -> None:
    """A generic netlink family is found if the kernel has it."""
    has, has_not = python(
        host,
        """
import json
from linen.netlink.blocking import has_generic_family
print(json.dumps([has_generic_family("nlctrl"), has_generic_family("no_such_family")]))
""",
    )

    assert (has, has_not) == (True, False)
