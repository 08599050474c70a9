# SPDX-License-Identifier: Apache-2.0
"""The rules of topology flow, as values. What Open vSwitch makes of them: tests/contract."""

from __future__ import annotations

from linen.core import flows
from linen.core.flows import Outlet, Rule
from linen.core.routes import Route

OUTLET = Outlet(port=9, vni=7)
PORT = (9).to_bytes(4, "big")
VNI = (7).to_bytes(8, "big")
VTEP = bytes([10, 245, 2, 3])


def peer(name: str = "node2", vtep: str = "10.245.2.3", *ranges: str) -> Route:
    return Route(name, vtep, ranges)


def matched(rules: list[Rule], field: str) -> list[tuple[bytes, bytes]]:
    """Value and mask of each rule that looks at `field`."""
    return [(value, mask) for rule in rules for name, value, mask in rule.match if name == field]


def test_packets_of_a_known_node_with_our_vni_are_delivered() -> None:
    """A peer's packets go to the bridge's own device, if sender and VNI are right."""
    (rule,) = flows.peer_rules(OUTLET, peer())

    assert set(rule.match) == {
        (flows.TUN_ID, VNI, b""),
        (flows.TUN_SRC, VTEP, b""),
    }
    assert rule.actions == ((flows.OUTPUT, flows.LOCAL),)


def test_each_range_has_a_rule_to_send_by_and_one_to_ask_by() -> None:
    """Packets and questions for an address lead to its node, for each range of each IP version."""
    rules = flows.peer_rules(OUTLET, peer("n", "10.245.2.3", "10.244.2.0/24", "fd00:2::/64"))[1:]

    mask4 = b"\xff\xff\xff\0"
    prefix6 = bytes.fromhex("fd000002" + "00" * 12), b"\xff" * 8 + bytes(8)
    assert matched(rules, flows.NW_DST) == [(b"\x0a\xf4\x02\0", mask4)]
    assert matched(rules, flows.ARP_TPA) == [(b"\x0a\xf4\x02\0", mask4)]
    assert matched(rules, flows.IPV6_DST) == [prefix6]
    assert matched(rules, flows.ND_TARGET) == [prefix6]
    sent = ((flows.TUN_DST, VTEP), (flows.TUN_ID, VNI), (flows.OUTPUT, PORT))
    assert [rule.actions for rule in rules] == [sent] * 4


def test_only_packets_of_this_nodes_pods_are_sent() -> None:
    """No rule leads from the wire to the wire: there is no loop."""
    rules = flows.peer_rules(OUTLET, peer("n", "fd00::3", "10.244.2.0/24", "fd00:2::/64"))
    rules.append(flows.broadcast_rule(OUTLET, [peer()]))

    for rule in rules:
        if (flows.OUTPUT, PORT) in rule.actions:
            assert (flows.IN_PORT, flows.LOCAL, b"") in rule.match


def test_masks_are_written_as_open_vswitch_writes_them() -> None:
    """A single address has no mask, and a range of all addresses is no condition."""
    one = flows.peer_rules(OUTLET, peer("n", "10.245.2.3", "10.244.2.9/32"))
    everything = flows.peer_rules(OUTLET, peer("n", "10.245.2.3", "0.0.0.0/0"))

    assert matched(one, flows.NW_DST) == [(b"\x0a\xf4\x02\x09", b"")]
    assert matched(everything, flows.NW_DST) == []


def test_asking_comes_before_groups_and_groups_before_peers() -> None:
    """A question, though sent to all, goes to one node; another packet to all goes by no range."""
    sent = flows.peer_rules(OUTLET, peer("n", "10.1.1.1", "fd00::/64"))[1:]
    group = flows.broadcast_rule(OUTLET, [])

    assert sorted(rule.priority for rule in (*sent, group)) == [flows.PEER, flows.GROUP, flows.ASK]


def test_broadcasts_are_dropped_without_anybody_to_send_them_to() -> None:
    """The rule for packets to many has no actions then."""
    assert flows.broadcast_rule(OUTLET, []).actions == ()


def test_broadcasts_go_once_to_each() -> None:
    """Each peer gets one copy."""
    rule = flows.broadcast_rule(OUTLET, [peer(), peer("node3", "10.245.2.4")])

    copies = [value for name, value in rule.actions if name == flows.TUN_DST]
    assert copies == [VTEP, bytes([10, 245, 2, 4])]
    assert [name for name, _ in rule.actions].count(flows.OUTPUT) == 2


MAC = b"\x02\0\0\0\0\x01"
IPV4, IPV6 = "10.244.0.0/16", "fd00::/48"


def test_a_node_asks_under_its_gateway() -> None:
    """The node's own questions, not its pods', are asked under its gateway's address.

    In neighbour discovery those alone that it would ask under a link-local address.
    """
    arp, neighbour = flows.asker_rules(MAC, ["10.244.1.1", "fd00:0:0:1::1"], [IPV4, IPV6])

    assert matched([arp, neighbour], flows.DL_SRC) == [(MAC, b"")] * 2
    assert matched([arp], flows.ARP_OP) == [(b"\0\x01", b"")]
    assert (flows.ARP_SPA, bytes([10, 244, 1, 1])) in arp.actions
    gateway = bytes.fromhex("fd00000000000001" + "00" * 7 + "01")
    assert neighbour.actions == ((flows.IPV6_SRC, gateway), (flows.RESUBMIT, b""))
    assert min(arp.priority, neighbour.priority) > flows.ASK


def test_a_question_is_looked_at_twice_at_most() -> None:
    """What comes back after a change is not changed again: there is no endless round."""
    for rule in flows.asker_rules(MAC, ["10.244.1.1", "fd00:0:0:1::1"], [IPV4, IPV6]):
        changed = dict(rule.actions)
        assert any(
            not _fits(changed[name], value, mask)
            for name, value, mask in rule.match
            if name in changed
        )


def _fits(value: bytes, wanted: bytes, mask: bytes) -> bool:
    bits = mask or b"\xff" * len(value)
    return all(a & m == b & m for a, b, m in zip(value, wanted, bits, strict=True))


def test_pods_of_one_version_are_asked_for_by_that_alone() -> None:
    """Without pods of an IP version there is no rule for it."""
    assert len(flows.asker_rules(MAC, ["10.244.1.1"], [IPV4])) == 1
    assert len(flows.asker_rules(MAC, ["fd00:0:0:1::1"], [IPV6])) == 1
    assert flows.asker_rules(MAC, [], [IPV4, IPV6]) == []


def test_pods_cannot_send_vxlan() -> None:
    """VXLAN from pods is dropped before all else, at the network's own UDP port."""
    rules = flows.common_rules(Outlet(1, 7, 8472))
    guards = [rule for rule in rules if rule.priority == flows.GUARD]

    assert matched(guards, flows.TP_DST) == [((8472).to_bytes(2, "big"), b"")] * 2
    assert [rule.actions for rule in guards] == [(), ()]


def test_pods_cannot_send_to_any_networks_port() -> None:
    """Each UDP port has two rules, for packets of IPv4 and of IPv6, in an order of their own."""
    rules = flows.guard_rules(frozenset({8472, 4789}))

    assert matched(rules, flows.TP_DST) == [
        (port.to_bytes(2, "big"), b"") for port in (4789, 4789, 8472, 8472)
    ]
    assert {rule.priority for rule in rules} == {flows.GUARD}
    assert [rule.actions for rule in rules] == [()] * 4


def test_what_no_rule_matches_is_dropped() -> None:
    """The last rule takes everything and has no actions."""
    assert flows.common_rules(OUTLET)[-1] == Rule(flows.NOTHING, ())


def test_equal_rules_have_equal_hashes() -> None:
    """Rules can be members of sets."""
    once, again = (flows.peer_rules(OUTLET, peer("n", "10.1.1.1", "fd00::/64")) for _ in range(2))

    assert set(once) == set(again)
    assert hash(OUTLET) == hash(Outlet(9, 7))
