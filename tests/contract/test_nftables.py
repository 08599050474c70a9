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
ours = ("linen-blue", [no_vxlan("kbr0", 4789)])
several = ("linen-blue", [no_way("kbr0", "kbr1"), no_vxlan("kbr0", 4789), no_way("kbr1", "kbr0")])
"""


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
        "chain from-pods {",
        "type filter hook prerouting priority raw; policy accept;",
        'udp dport 4789 iifname "kbr0" drop comment "Linen: no VXLAN from pods (kbr0, 4789)"',
        "}",
        "}",
    ]


def test_rules_of_several_kinds(host: Host) -> None:
    """VXLAN is dropped before packets are routed, and what would go between networks after that."""
    assert python(host, "nftables.drop(*several); print(json.dumps(nftables.drops(*several)))")

    assert ruleset(host) == [
        "table inet linen-blue {",
        "chain from-pods {",
        "type filter hook prerouting priority raw; policy accept;",
        'udp dport 4789 iifname "kbr0" drop comment "Linen: no VXLAN from pods (kbr0, 4789)"',
        "}",
        "",
        "chain between-networks {",
        "type filter hook forward priority raw; policy accept;",
        'iifname "kbr0" oifname "kbr1" drop comment "Linen: no way between networks (kbr0, kbr1)"',
        'iifname "kbr1" oifname "kbr0" drop comment "Linen: no way between networks (kbr1, kbr0)"',
        "}",
        "}",
    ]


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
