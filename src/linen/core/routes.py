# SPDX-License-Identifier: Apache-2.0
"""Which node has which part of the pod network, where tunnels are chosen by address (flow).

A node's ranges were checked for form where they were read. Here they are held against the pod
network and against the ranges of the others: no node can draw traffic to itself that another
already has a right to. The first by name keeps a range, so that all nodes decide the same.

CIDRs overlap only where one lies within the other. So what a node claims concerns those alone who
claim something within the largest range around it: mostly nobody, and the decision costs the same
however many nodes there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from linen.core import model
from linen.light import sock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from linen.core.cluster import Peer

    Range = tuple[int, int, int]  # bytes of an address, the first address, the last
    # Who claims a range, in the order of their rights: 0 for this node and 1 for others, the node's
    # name, and the place among its ranges.
    Claim = tuple[int, str, int]


KEPT = 1 << 17  # ranges, some 20 MB
_parsed: dict[str, Range] = {}


class Route(model.Value):
    """What leads to one node: its address in the underlay, and the pods that are behind it.

    `ranges`: CIDRs that no other node has.
    """

    __slots__ = ("name", "ranges", "vtep")

    def __init__(self, name: str, vtep: str, ranges: Sequence[str]) -> None:
        self.name = name
        self.vtep = vtep
        self.ranges = tuple(ranges)


class Routes:
    """The routes from node `own` to its peers, kept up to date node by node.

    `cluster_range`: all pods' addresses, as CIDRs. `found`: the routes by the nodes' names.
    """

    def __init__(self, own: Peer, cluster_range: Iterable[str]) -> None:
        self.found: dict[str, Route] = {}
        self._whole = [parse_range(cidr) for cidr in cluster_range]
        self._peers: dict[str, Peer] = {}
        self._claims = _Claims()
        # By node and place among its ranges: whose range stands against it, "" if it is no pods'.
        self._refused: dict[str, dict[int, str]] = {}
        for place, cidr in enumerate(own.ranges):
            self._claims.add(parse_range(cidr), (0, own.name, place))

    def update(
        self, peers: Mapping[str, Peer], names: Iterable[str]
    ) -> list[tuple[Route | None, Route | None]]:
        """Take in that the nodes `names` are, or aren't, as in `peers` now, and the others as ever.

        The routes that are others now: before and after, None where there is none.
        """
        concerned = set(names)
        claimed: list[Range] = []
        for name in concerned:
            claimed += self._claim(name, peers.get(name))
        for wanted in claimed:
            self._judge(wanted, concerned)
        changes = []
        for name in concerned:
            before, now = self.found.pop(name, None), self._route(name)
            if now is not None:
                self.found[name] = now
            if before != now:
                changes.append((before, now))
        return changes

    def faults(self) -> list[str]:
        """What is wrong with ranges, a sentence each."""
        return [
            self._fault(name, self._peers[name].ranges[place], holder)
            for name, refused in sorted(self._refused.items())
            for place, holder in sorted(refused.items())
        ]

    @staticmethod
    def _fault(name: str, cidr: str, holder: str) -> str:
        if not holder:
            return f"range {cidr} of node {name} is no part of the pod network"
        return (
            f"range {cidr} of node {name} overlaps with one of node {holder},"
            f" which keeps it: nothing is sent to {name} for it"
        )

    def _claim(self, name: str, peer: Peer | None) -> list[Range]:
        """Note what a node claims now; what it has claimed and claims, if that is not the same."""
        before = self._peers.pop(name, None)
        if peer is not None:
            self._peers[name] = peer
        old, new = before.ranges if before else (), peer.ranges if peer else ()
        if old == new:
            return []
        refused = self._refused.pop(name, {})
        claimed = []
        for place, cidr in enumerate(old):
            if refused.get(place) != "":
                claimed.append(parse_range(cidr))
                self._claims.remove(claimed[-1], (1, name, place))
        for place, cidr in enumerate(new):
            wanted = parse_range(cidr)
            if _is_part(wanted, self._whole):
                claimed.append(wanted)
                self._claims.add(wanted, (1, name, place))
            else:
                self._refused.setdefault(name, {})[place] = ""
        return claimed

    def _judge(self, wanted: Range, concerned: set[str]) -> None:
        """Decide who has what of all that a claim of `wanted` concerns."""
        taken = _Taken()
        for claim, claimed in self._claims.around(wanted):
            is_other, name, place = claim
            holder = taken.take(claimed, name)
            if is_other and self._refused.get(name, {}).get(place) != holder:
                concerned.add(name)
                self._refuse(name, place, holder)

    def _refuse(self, name: str, place: int, holder: str | None) -> None:
        refused = self._refused.setdefault(name, {})
        if holder is None:
            del refused[place]
        else:
            refused[place] = holder
        if not refused:
            del self._refused[name]

    def _route(self, name: str) -> Route | None:
        peer = self._peers.get(name)
        if peer is None:
            return None
        refused = self._refused.get(name)
        if refused is None:
            return Route(name, peer.vtep, peer.ranges)
        granted = [cidr for place, cidr in enumerate(peer.ranges) if place not in refused]
        return Route(name, peer.vtep, granted)


def parse_range(cidr: str) -> Range:
    """A CIDR as numbers. Those of a cluster are asked for again and again, so they are kept."""
    known = _parsed.get(cidr)
    if known is None:
        if len(_parsed) >= KEPT:
            _parsed.clear()
        known = _parsed[cidr] = _parse(cidr)
    return known


def _parse(cidr: str) -> Range:
    address, _, bits = cidr.partition("/")
    data = sock.ip_bytes(address)
    first = int.from_bytes(data, "big")
    return len(data), first, first | (1 << len(data) * 8 - int(bits)) - 1


def _is_part(part: Range, wholes: Iterable[Range]) -> bool:
    size, first, last = part
    for whole_size, start, end in wholes:
        if size == whole_size and start <= first and last <= end:
            return True
    return False


class _Claims:
    """Who claims which range."""

    def __init__(self) -> None:
        self._claimants: dict[Range, list[Claim]] = {}
        self._order: list[Range] = []  # all of them, so those of an IP version by first address
        self._sizes: dict[tuple[int, int], int] = {}  # how many have this IP version and size

    def add(self, wanted: Range, claim: Claim) -> None:
        claimants = self._claimants.setdefault(wanted, [])
        if not claimants:
            insort(self._order, wanted)
            self._sizes[_size(wanted)] = self._sizes.get(_size(wanted), 0) + 1
        insort(claimants, claim)

    def remove(self, wanted: Range, claim: Claim) -> None:
        claimants = self._claimants[wanted]
        claimants.remove(claim)
        if not claimants:
            del self._claimants[wanted], self._order[bisect_left(self._order, wanted)]
            self._sizes[_size(wanted)] -= 1
            if not self._sizes[_size(wanted)]:
                del self._sizes[_size(wanted)]

    def around(self, wanted: Range) -> list[tuple[Claim, Range]]:
        """All claims within the largest claimed range that `wanted` is in, by their rights."""
        version, start, end = self._largest(wanted)
        since = bisect_left(self._order, (version, start))
        until = bisect_left(self._order, (version, end + 1), since)
        within = self._order[since:until]
        return sorted([(claim, one) for one in within for claim in self._claimants[one]])

    def _largest(self, wanted: Range) -> Range:
        """The largest claimed range that `wanted` is in, or itself."""
        version, first, last = wanted
        largest, least = wanted, last - first + 1
        for its_version, size in self._sizes:
            if its_version == version and size > least:
                start = first & -size
                if (version, start, start + size - 1) in self._claimants:
                    largest, least = (version, start, start + size - 1), size
        return largest


def _size(one: Range) -> tuple[int, int]:
    version, first, last = one
    return version, last - first + 1


class _Taken:
    """Ranges of one IP version that belong to somebody, none of which overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._held: list[tuple[int, str]] = []  # the last address, by whom

    def take(self, wanted: Range, name: str) -> str | None:
        """Give `wanted` to node `name`, or say which node has a part of it already."""
        _, first, last = wanted
        place = bisect_right(self._starts, last)
        if place:
            end, holder = self._held[place - 1]
            if end >= first:
                return holder
        self._starts.insert(place, first)
        self._held.insert(place, (last, name))
        return None
