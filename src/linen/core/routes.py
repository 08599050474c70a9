# SPDX-License-Identifier: Apache-2.0
"""Which node has which part of the pod network, where tunnels are chosen by address (flow).

A node's ranges were checked for form where they were read. Here they are held against the pod
network and against the ranges of the others: no node can draw traffic to itself that another
already has a right to. The first by name keeps a range, so that all nodes decide the same.
"""

from __future__ import annotations

from bisect import bisect_right

from linen.core import model
from linen.light import sock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from linen.core.cluster import Peer

    Range = tuple[int, int, int]  # bytes of an address, the first address, the last


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


def routes(
    own: Peer, peers: Iterable[Peer], cluster_range: Iterable[str]
) -> tuple[list[Route], list[str]]:
    """The routes from node `own` to each of `peers`, and what is wrong with ranges, one a sentence.

    `peers`: in the order of their names. `cluster_range`: all pods' addresses, as CIDRs.
    """
    whole = [parse_range(cidr) for cidr in cluster_range]
    taken = _Taken()
    for cidr in own.ranges:
        taken.take(parse_range(cidr), own.name)
    found, faults = [], []
    for peer in peers:
        granted = []
        for cidr in peer.ranges:
            wanted = parse_range(cidr)
            if not _is_part(wanted, whole):
                faults.append(f"range {cidr} of node {peer.name} is no part of the pod network")
            elif holder := taken.take(wanted, peer.name):
                faults.append(
                    f"range {cidr} of node {peer.name} overlaps with one of node {holder},"
                    f" which keeps it: nothing is sent to {peer.name} for it"
                )
            else:
                granted.append(cidr)
        found.append(Route(peer.name, peer.vtep, granted))
    return found, faults


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


class _Taken:
    """Ranges that belong to somebody, none of which overlap."""

    def __init__(self) -> None:
        self._starts: dict[int, list[int]] = {4: [], 16: []}
        self._held: dict[int, list[tuple[int, str]]] = {4: [], 16: []}  # the last address, by whom

    def take(self, wanted: Range, name: str) -> str | None:
        """Give `wanted` to node `name`, or say which node has a part of it already."""
        size, first, last = wanted
        place = bisect_right(self._starts[size], last)
        if place:
            end, holder = self._held[size][place - 1]
            if end >= first:
                return holder
        self._starts[size].insert(place, first)
        self._held[size].insert(place, (last, name))
        return None
