# SPDX-License-Identifier: Apache-2.0
"""The cluster as one node sees it: its peers, and to which of them it needs a tunnel.

- mesh: to every other node.
- star: a master to every other node, the others to the masters.

What a node says about itself may be wrong or hostile. It was checked for form where it was read;
here it is checked against the other nodes, and what is wrong costs that node its tunnel, never
anybody else's.
"""

from __future__ import annotations

from linen.core import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Measured: userspace Open vSwitch stops flooding at 780 tunnels over IPv4, and 630 over IPv6
# ("resubmits yielded over 64 kB of actions"), and then no ARP finds a node beyond any more.
FLOOD_WARNING = 500
FLOOD_LIMIT, FLOOD_LIMIT_IPV6 = 750, 600

NAMED = 5  # nodes that one sentence names


class Peer(model.Value):
    """A node as others need it.

    `ranges`: the parts of the pod network that are its own, as CIDRs.
    """

    __slots__ = ("is_master", "name", "ranges", "vtep")

    def __init__(
        self, name: str, vtep: str, *, ranges: Sequence[str] = (), is_master: bool = False
    ) -> None:
        self.name = name
        self.vtep = vtep
        self.ranges = tuple(ranges)
        self.is_master = is_master


class View(model.Value):
    """The cluster as this node knows it.

    `own`: this node, None while it has no address yet.
    `complete`: whether `peers` are all there are. From a view that is not (a cache read at start)
    nothing may be removed.
    `faults`: what is wrong with nodes that are left out, one sentence each.
    """

    __slots__ = ("cluster_range", "complete", "faults", "own", "peers")

    def __init__(
        self,
        own: Peer | None,
        peers: Mapping[str, Peer],
        *,
        complete: bool = True,
        cluster_range: Sequence[str] = (),
        faults: Sequence[str] = (),
    ) -> None:
        self.own = own
        self.peers = peers
        self.complete = complete
        self.cluster_range = tuple(cluster_range)
        self.faults = tuple(faults)


class Neighbours(model.Value):
    """The peers to have a tunnel to, and what is wrong with others, one sentence each."""

    __slots__ = ("faults", "peers")

    def __init__(self, peers: list[Peer], faults: list[str]) -> None:
        self.peers = peers
        self.faults = faults

    def vteps(self) -> list[str]:
        """Their addresses, sorted by the nodes' names."""
        return [peer.vtep for peer in self.peers]


def neighbours(own: Peer, peers: Mapping[str, Peer], topology: str) -> Neighbours:
    """The peers that node `own` needs a tunnel to."""
    others = [peers[name] for name in sorted(peers) if name != own.name]
    others, strangers = _of_one_version(own, others)
    wanted, faults = _with_addresses_of_their_own(own, others)
    faults += strangers
    if topology == model.TOPOLOGY_STAR and not own.is_master:
        wanted = [peer for peer in wanted if peer.is_master]
        if not wanted:
            faults.append(
                "no other node is a master, and in a star only masters are connected to:"
                " make one a master (docs/flaxd.md, Topologies)"
            )
    if topology != model.TOPOLOGY_FLOW:
        limit = flood_limit([peer.vtep for peer in wanted])
        faults += _size_faults(topology, len(wanted), limit)
        wanted = wanted[:limit]
    return Neighbours(wanted, faults)


def flood_limit(vteps: Iterable[str]) -> int:
    """How many tunnels an OVS bridge can have that copies broadcasts into each of them."""
    return FLOOD_LIMIT_IPV6 if any(":" in vtep for vtep in vteps) else FLOOD_LIMIT


def _of_one_version(own: Peer, others: Sequence[Peer]) -> tuple[list[Peer], list[str]]:
    """Those with a VTEP address of this node's IP version, and a sentence about the rest.

    A packet to one of the others would leave with another sender than the VTEP address that the
    other nodes know of this one, so none of them would take it in.
    """
    is_ipv6 = ":" in own.vtep
    fitting = [peer for peer in others if (":" in peer.vtep) == is_ipv6]
    strangers = [peer for peer in others if (":" in peer.vtep) != is_ipv6]
    if not strangers:
        return fitting, []
    names = ", ".join(peer.name for peer in strangers[:NAMED])
    more = f" and {len(strangers) - NAMED} more" if len(strangers) > NAMED else ""
    theirs, ours = ("IPv4", "IPv6") if is_ipv6 else ("IPv6", "IPv4")
    fault = (
        f"no tunnel to node {names}{more}: VTEP addresses there are of {theirs}, here of {ours};"
        " let all nodes have them of one version (flaxd's vtep-family)"
    )
    return fitting, [fault]


def _with_addresses_of_their_own(own: Peer, others: Iterable[Peer]) -> tuple[list[Peer], list[str]]:
    """Those with a VTEP address that no other node has, and a sentence for each of the rest.

    The first by name keeps an address, so that all nodes of the cluster decide the same.
    """
    holders = {own.vtep: own.name}
    wanted, faults = [], []
    for peer in others:
        holder = holders.setdefault(peer.vtep, peer.name)
        if holder == peer.name:
            wanted.append(peer)
        else:
            faults.append(
                f"node {peer.name} has the VTEP address {peer.vtep} of node {holder}:"
                " no tunnel to it"
            )
    return wanted, faults


def _size_faults(topology: str, tunnels: int, limit: int) -> list[str]:
    """What to do about too many tunnels, or what will be to be done."""
    if tunnels < FLOOD_WARNING:
        return []
    why = f"beyond {limit} tunnels Open vSwitch stops to deliver broadcasts, and so ARP"
    if tunnels > limit:
        more = tunnels - limit
        cure = f"so the last {more} by name get no tunnel; use topology flow"
        return [f"{tunnels} other nodes are too many for a {topology}: {why}, {cure}"]
    cure = "use topology flow before more nodes join"
    return [f"{tunnels} other nodes are many for a {topology}: {why}; {cure}"]
