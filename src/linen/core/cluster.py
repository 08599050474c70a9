# SPDX-License-Identifier: Apache-2.0
"""The cluster as one node sees it: its peers, and to which of them it needs a tunnel.

- mesh: to every other node.
- star: a master to every other node, the others to the masters.
- flow: one to all, so all are its neighbours.

What a node says about itself may be wrong or hostile. It was checked for form where it was read;
here it is checked against the other nodes. What is wrong costs that node its tunnel; of two that
claim one address the first by name has it, and everybody tells of the other.
"""

from __future__ import annotations

from bisect import insort

from linen.core import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

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
    `nodes`: all of them by name, this one included once it has one.
    `complete`: whether `nodes` are all there are. From a view that is not (a cache read at start)
    nothing may be removed.
    `faults`: what is wrong with nodes that are left out, one sentence each.
    """

    __slots__ = ("cluster_range", "complete", "faults", "nodes", "own")

    def __init__(
        self,
        own: Peer | None,
        nodes: Mapping[str, Peer],
        *,
        complete: bool = True,
        cluster_range: Sequence[str] = (),
        faults: Sequence[str] = (),
    ) -> None:
        self.own = own
        self.nodes = nodes
        self.complete = complete
        self.cluster_range = tuple(cluster_range)
        self.faults = tuple(faults)


class Roster:
    """The view, kept up to date node by node, and what follows from it for peers' addresses.

    The first by name keeps a VTEP address, and this node its own, so that all nodes of the cluster
    decide the same. An address of another IP version than this node's is of no use: a packet there
    would leave with another sender than the VTEP address that other nodes know of this one, so none
    of them would take it in.
    What a change costs depends on whom it concerns, not on how many nodes there are.

    `peers`: those with an address of this node's version that no other node has, by name, in no
    order.
    """

    def __init__(self, view: View | None = None) -> None:
        self.view: View | None = None
        self.peers: dict[str, Peer] = {}
        self._claims: dict[str, list[str]] = {}  # address: the names of those who say it is theirs
        self._losers: set[str] = set()  # who claims another's address
        self._strangers: set[str] = set()  # who has one of the other IP version
        self._news: list[set[str]] = []
        if view is not None:
            self.learn(view)

    def follow(self) -> set[str]:
        """A set with the names of all peers, to which that of each is added that changes or goes.

        Whoever follows empties it.
        """
        news = set(self.peers)
        self._news.append(news)
        return news

    def learn(self, view: View, names: Iterable[str] | None = None) -> bool:
        """Take in a new view; whether it is another than the one before.

        `names`: nodes that may be others than in the view before, and no others may; None where
        that is not known.
        """
        before, self.view = self.view or View(None, {}), view
        if names is None:
            names = _differing(before.nodes, view.nodes)
        names = {name for name in names if before.nodes.get(name) != view.nodes.get(name)}
        concerned = set(names)
        for name in names:
            concerned.update(self._claim(name, before.nodes.get(name), view.nodes.get(name)))
        if before.own != view.own:
            concerned.update(view.nodes, self.peers)
        changed = {name for name in concerned if self._settle(view, name)}
        for news in self._news:
            news.update(changed)
        return bool(names) or _frame(before) != _frame(view)

    def faults(self) -> list[str]:
        """What is wrong with peers that are left out, one sentence each, or for several."""
        if self.view is None or self.view.own is None:
            return []
        found = []
        for name in sorted(self._losers - {self.find_stronger_claim()}):
            vtep = self.view.nodes[name].vtep
            holder = self._holder(self.view.own, vtep)
            found.append(
                f"node {name} has the VTEP address {vtep} of node {holder}: no tunnel to it"
            )
        if self._strangers:
            found.append(_unfit(sorted(self._strangers), self.view.own))
        return found

    def find_stronger_claim(self) -> str | None:
        """The first by name of those before this node who say that they have its VTEP address.

        For all other nodes that address is theirs, so no packet comes here.
        """
        if self.view is None or self.view.own is None:
            return None
        own = self.view.own
        claims = self._claims.get(own.vtep)  # in the order of names
        return claims[0] if claims and claims[0] < own.name else None

    def _claim(self, name: str, before: Peer | None, now: Peer | None) -> list[str]:
        """Note which address a node says it has; the others for whom that may be news."""
        if before is not None and now is not None and before.vtep == now.vtep:
            return []
        others = []
        if before is not None:
            claimants = self._claims[before.vtep]
            claimants.remove(name)
            others += claimants[:1]
            if not claimants:
                del self._claims[before.vtep]
        if now is not None:
            claimants = self._claims.setdefault(now.vtep, [])
            insort(claimants, name)
            others += claimants[:2]
        return others

    def _settle(self, view: View, name: str) -> bool:
        """Decide whether a node is a peer; whether that is news."""
        self._losers.discard(name)
        self._strangers.discard(name)
        own, peer = view.own, view.nodes.get(name)
        if own is None or name == own.name:
            peer = None
        elif peer is not None and (":" in peer.vtep) != (":" in own.vtep):
            self._strangers.add(name)
            peer = None
        elif peer is not None and self._holder(own, peer.vtep) != name:
            self._losers.add(name)
            peer = None
        if self.peers.get(name) == peer:
            return False
        if peer is None:
            del self.peers[name]
        else:
            self.peers[name] = peer
        return True

    def _holder(self, own: Peer, vtep: str) -> str:
        return own.name if own.vtep == vtep else self._claims[vtep][0]


def _unfit(names: Sequence[str], own: Peer) -> str:
    """What to do about nodes with addresses of the other IP version."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    theirs, ours = ("IPv4", "IPv6") if ":" in own.vtep else ("IPv6", "IPv4")
    return (
        f"no tunnel to node {', '.join(names[:NAMED])}{more}: VTEP addresses there are of {theirs},"
        f" here of {ours}; let all nodes have them of one version (flaxd's vtep-family)"
    )


def _differing(before: Mapping[str, Peer], after: Mapping[str, Peer]) -> set[str]:
    """The names of those who are not the same object in both."""
    differing = {name for name, node in after.items() if before.get(name) is not node}
    return differing | (before.keys() - after.keys())


def _frame(view: View) -> tuple[object, ...]:
    """All of a view but its nodes."""
    return view.own, view.complete, view.cluster_range, view.faults


class Neighbours(model.Value):
    """The peers to have a tunnel to, by name, and what is wrong with others, one sentence each.

    In topology flow these are a roster's peers themselves, as they are now and later.
    """

    __slots__ = ("faults", "peers")

    def __init__(self, peers: Mapping[str, Peer], faults: list[str]) -> None:
        self.peers = peers
        self.faults = faults

    def vteps(self) -> list[str]:
        """Their addresses."""
        return [peer.vtep for peer in self.peers.values()]


def neighbours(
    own: Peer, roster: Roster, topology: str, own_addresses: Container[str] = ()
) -> Neighbours:
    """The peers that node `own`, the roster's own, needs a tunnel to; sorted but in flow.

    `own_addresses`: all that this node has. A tunnel to one of them would bring back each broadcast
    that goes into it.
    """
    faults = roster.faults()
    if topology == model.TOPOLOGY_FLOW:
        return Neighbours(roster.peers, faults)
    wanted = [roster.peers[name] for name in sorted(roster.peers)]
    faults += [
        f"no tunnel to node {peer.name}: its VTEP address {peer.vtep} is one of this node's own"
        for peer in wanted
        if peer.vtep in own_addresses
    ]
    wanted = [peer for peer in wanted if peer.vtep not in own_addresses]
    if topology == model.TOPOLOGY_STAR and not own.is_master:
        wanted = [peer for peer in wanted if peer.is_master]
        if not wanted:
            faults.append(
                "no other node is a master, and in a star only masters are connected to:"
                " make one a master (docs/flaxd.md, Topologies)"
            )
    limit = flood_limit([peer.vtep for peer in wanted])
    faults += _size_faults(topology, len(wanted), limit)
    return Neighbours({peer.name: peer for peer in wanted[:limit]}, faults)


def flood_limit(vteps: Iterable[str]) -> int:
    """How many tunnels an OVS bridge can have that copies broadcasts into each of them."""
    return FLOOD_LIMIT_IPV6 if any(":" in vtep for vtep in vteps) else FLOOD_LIMIT


def _size_faults(topology: str, tunnels: int, limit: int) -> list[str]:
    """What to do about too many tunnels, now or soon.

    The sentence is the same whatever their number: it becomes an Event, and would be another one
    with each node that joins, on every node.
    """
    if tunnels < FLOOD_WARNING:
        return []
    why = f"beyond {limit} tunnels Open vSwitch no longer delivers broadcasts, and so no ARP"
    if tunnels > limit:
        cure = "so the last by name get no tunnel; use topology flow"
        return [f"more than {limit} other nodes are too many for a {topology}: {why}, {cure}"]
    cure = "use topology flow before more nodes join"
    return [f"{FLOOD_WARNING} other nodes or more are many for a {topology}: {why}; {cure}"]
