# SPDX-License-Identifier: Apache-2.0
"""Our tables of nftables in the real kernel, with `nft` as their witness."""

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
from linen.netlink.drop_rules import from_underlay, no_tags, no_vxlan, no_vxlan_to_groups, no_way
from linen.netlink.nftables import Nftables
nftables = Nftables()
ours = ("linen-blue", no_vxlan("kbr0", 4789, is_translated=False, ipvs=False))
with_ipvs = ("linen-blue", no_vxlan("kbr0", 4789, is_translated=False, ipvs=True))
translated = [no_vxlan(name, 4789, is_translated=True, ipvs=False) for name in ("kbr0", "kbr1")]
early = ("linen-blue", translated[0] + no_tags("kbr0"))
two_bridges = ("linen-blue", translated[0] + translated[1])
ways = [no_way("kbr0", "kbr1"), no_way("kbr1", "kbr0")]
several = ("linen-blue", [ways[0], *ours[1], ways[1], no_vxlan_to_groups(4789)])
with_underlay = ("linen-blue", [from_underlay("eth0", 1), *ours[1]])
"""
DROPPED = 'udp dport 4789 iifname "kbr0" drop comment "Linen: no VXLAN from pods (kbr0, 4789)"'
TO_NODE = ["chain to-this-node {", "type filter hook input priority 300; policy accept;"]
THROUGH_NODE = [
    "chain through-this-node {",
    "type filter hook forward priority 300; policy accept;",
]
TO_GROUPS = (
    'udp dport 4789 meta pkttype != host drop comment "Linen: no VXLAN in frames to groups (4789)"'
)
OUT_OF_NODE = [
    "chain out-of-this-node {",
    "type filter hook postrouting priority 300; policy accept;",
]
FIRST = ["table inet linen-blue {", *TO_NODE, DROPPED]
SECOND = ["}", "", *THROUGH_NODE, DROPPED, "}"]


def python(host: Host, program: str) -> Any:
    """What a program prints as JSON that runs in the host."""
    return json.loads(host.run(sys.executable, "-c", PROLOGUE + program).stdout)


def ruleset(host: Host) -> list[str]:
    """The firewall as `nft` shows it, a line each."""
    return [line.strip() for line in host.run("nft", "list", "ruleset").stdout.splitlines()]


def test_the_table_is_what_nft_shows(host: Host) -> None:
    """There are the rules that drop what they are to, however often they are asked for.

    They come after translations, which may make VXLAN of what was none.
    """
    python(host, "nftables.drop(*ours); nftables.drop(*ours); print(1)")

    assert ruleset(host) == [*FIRST, *SECOND, "}"]


def test_the_table_where_there_is_ipvs(host: Host) -> None:
    """There is a rule behind each place where IPVS translates, too."""
    python(host, "nftables.drop(*with_ipvs); print(1)")

    assert ruleset(host) == [*FIRST, *SECOND, "", *OUT_OF_NODE, DROPPED, "}", "}"]


def test_the_table_where_the_firewall_sees_the_bridge(host: Host) -> None:
    """Packets are looked at as the bridge hands them over, and not when they are handed on.

    A table of another family does that, and both are ours.
    """
    host.run("ip", "link", "add", "name", "kbr0", "type", "bridge")
    program = """
nftables.drop(*early)
print(json.dumps([nftables.drops(*early), *nftables.tables()]))
"""
    assert python(host, program) == [True, "linen-blue"]

    assert ruleset(host) == [
        *FIRST,
        "}",
        "}",
        "table netdev linen-blue {",
        "chain from-pods {",
        'type filter hook ingress device "kbr0" priority 300; policy accept;',
        DROPPED,
        *(
            f'@ll,96,32 & 0xffff0fff == 0x{ethertype}0000 iifname "kbr0" drop'
            f' comment "Linen: no tags from pods (kbr0, {name})"'
            for name, ethertype in (("802.1Q", "8100"), ("802.1ad", "88a8"))
        ),
        "}",
        "}",
    ]


def test_rules_of_several_kinds(host: Host) -> None:
    """What would go between networks is dropped last, where all that is handed on comes by."""
    assert python(host, "nftables.drop(*several); print(json.dumps(nftables.drops(*several)))")

    assert ruleset(host) == [
        *FIRST,
        TO_GROUPS,
        *SECOND,
        "",
        *OUT_OF_NODE,
        'iifname "kbr0" oifname "kbr1" drop comment "Linen: no way between networks (kbr0, kbr1)"',
        'iifname "kbr1" oifname "kbr0" drop comment "Linen: no way between networks (kbr1, kbr0)"',
        "}",
        "}",
    ]


def test_what_comes_by_the_underlay(host: Host) -> None:
    """It is let by before anything else is asked."""
    program = "nftables.drop(*with_underlay); print(json.dumps(nftables.drops(*with_underlay)))"
    assert python(host, program)

    let_by = 'iif "lo" accept comment "Linen: from other nodes (eth0), device 1"'
    assert ruleset(host) == [*FIRST[:-1], let_by, DROPPED, *SECOND, "}"]


@pytest.mark.parametrize("absent", ["kbr0", "kbr1"])
def test_a_bridge_that_is_gone(host: Host, absent: str) -> None:
    """A table is not right until it looks at each of the bridges, one made anew among them."""
    for name in "kbr0", "kbr1":
        host.run("ip", "link", "add", "name", name, "type", "bridge")
    python(host, "nftables.drop(*two_bridges); print(1)")
    host.run("ip", "link", "delete", "dev", absent)
    host.run("ip", "link", "add", "name", absent, "type", "bridge")
    program = """
if not nftables.drops(*two_bridges):  # from Linux 6.16 on it looks at the new one by itself
    nftables.drop(*two_bridges)
print(json.dumps(nftables.drops(*two_bridges)))
"""
    assert python(host, program) is True
    (hook,) = [line for line in ruleset(host) if "ingress" in line]
    assert "kbr0" in hook
    assert "kbr1" in hook


def test_a_table_that_is_right_is_known(host: Host) -> None:
    """Only the very rules count: one for another device or port is another."""
    program = """
before = nftables.drops(*ours)
nftables.drop(*ours)
how = {"is_translated": False, "ipvs": False}
rules = no_vxlan("kbr1", 4789, **how), no_vxlan("kbr0", 8472, **how), several[1]
others = [nftables.drops("linen-blue", one) for one in rules]
print(json.dumps([before, nftables.drops(*ours), *others]))
"""
    assert python(host, program) == [False, True, False, False, False]


def test_a_table_of_an_earlier_version_is_replaced(host: Host) -> None:
    """A table with more rules, or at other places, is not taken for ours of today.

    That takes its place.
    """
    host.run("ip", "link", "add", "name", "kbr0", "type", "bridge")
    program = """
found = []
for before in with_ipvs, early:
    nftables.drop(*before)
    found.append(nftables.drops(*ours))
    nftables.drop(*ours)
    found.append(nftables.drops(*ours))
print(json.dumps(found))
"""
    assert python(host, program) == [False, True, False, True]
    assert ruleset(host) == [*FIRST, *SECOND, "}"]


def test_a_table_of_the_version_before_is_replaced(host: Host) -> None:
    """Its rules had the same words, and were at another place."""
    host.run("nft", "add", "table", "inet", "linen-blue")
    hook = "{ type filter hook prerouting priority 300; }"
    host.run("nft", "add", "chain", "inet", "linen-blue", "from-pods", hook)
    for _ in range(2):
        host.run(
            "nft", "add", "rule", "inet", "linen-blue", "from-pods", *DROPPED.split(maxsplit=5)
        )
    program = "print(json.dumps([nftables.drops(*ours), nftables.drop(*ours)]))"

    assert python(host, program) == [False, None]
    assert ruleset(host) == [*FIRST, *SECOND, "}"]


def test_what_somebody_changed_is_noticed(host: Host) -> None:
    """An emptied firewall, or a rule before ours, is noticed and put right."""
    look = "print(json.dumps(nftables.drops(*ours)))"
    python(host, "nftables.drop(*ours);" + look)
    host.run("nft", "insert", "rule", "inet", "linen-blue", "to-this-node", "accept")
    assert python(host, look) is False
    assert python(host, "nftables.drop(*ours);" + look) is True

    host.run("nft", "flush", "ruleset")
    assert python(host, look) is False
    assert python(host, "nftables.drop(*ours);" + look) is True


def test_tables_of_others_stay(host: Host) -> None:
    """Ours is removed by its name, and what others have is left as it is."""
    host.run("nft", "add", "table", "inet", "firewall")
    host.run("nft", "add", "table", "ip", "linen-blue")
    host.run("ip", "link", "add", "name", "kbr0", "type", "bridge")
    program = """
nftables.drop(*early)
before = nftables.tables()
nftables.remove("linen-blue")
print(json.dumps([sorted(before), sorted(nftables.tables())]))
"""
    assert python(host, program) == [["firewall", "linen-blue"], ["firewall"]]
    assert ruleset(host) == ["table inet firewall {", "}", "table ip linen-blue {", "}"]


def test_a_kernel_without_nftables(host: Host) -> None:
    """Where nfnetlink is there and nf_tables is not, there are no tables, and that is no error."""
    program = """
from linen.netlink import nftables as module
module.SUBSYSTEM = 200  # which no kernel has
print(json.dumps(sorted(nftables.tables())))
"""
    assert python(host, program) == []


def test_a_kernel_that_does_not_look_at_devices(host: Host) -> None:
    """Then nothing is changed, and it is an error."""
    program = """
nftables.drop(*ours)
from linen.netlink import nftables as module
module.INGRESS.family = module.NETDEV = 99  # which no kernel has
try:
    nftables.drop(*early)
except NetlinkError as error:
    print(error.errno)
"""
    assert python(host, program) == 95  # EOPNOTSUPP
    assert ruleset(host) == [*FIRST, *SECOND, "}"]


def test_a_table_that_is_not_there_cannot_be_removed(host: Host) -> None:
    """The kernel's answer is not taken for success."""
    program = """
try:
    nftables.remove("linen-blue")
except NetlinkError as error:
    print(error.errno)
"""
    assert python(host, program) == 2
