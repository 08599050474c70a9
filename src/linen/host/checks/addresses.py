# SPDX-License-Identifier: Apache-2.0
"""Checks of the addresses in one conflist: the pods', the gateway's, the nodes'."""

from __future__ import annotations

import ipaddress
from itertools import product
from typing import TYPE_CHECKING

from linen.host.conflists import BRIDGE, networks_of
from linen.host.findings import Check, error, note, warning
from linen.host.pod_ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.conflists import Conflist
    from linen.host.findings import Finding
    from linen.host.pod_ranges import PodRange


def address_ranges(conflist: Conflist) -> Iterator[Finding]:
    """What host-local would refuse at the first ADD."""
    for place, entry in conflist.entries:
        _, faults = parse_ranges(entry, place)
        for fault in faults:
            yield error(
                conflist.at(fault.place),
                fault.what,
                cause="host-local refuses it, so no pod gets an address",
                cure="the node's range lies inside the subnet that all nodes share",
            )


def own_range(conflist: Conflist) -> Iterator[Finding]:
    """Each node has a part of the shared subnet to itself."""
    if not any(network.options.vteps for network in networks_of([conflist])):
        return
    for pods in _ranges(conflist):
        if pods.start is None and pods.end is None:
            yield warning(
                conflist.at(pods.place),
                f"this node gives its pods any address of {pods.subnet}",
                cause="each node counts for itself, so two nodes with the same subnet give the"
                " same address to two pods of one overlay",
                cure="set rangeStart and rangeEnd, to another range on each node",
            )


def own_gateway(conflist: Conflist) -> Iterator[Finding]:
    """Each node is its pods' gateway under an address of its own."""
    if not any(network.options.vteps for network in networks_of([conflist])):
        return
    for place, entry in conflist.of_type(BRIDGE):
        if not (entry.get("isGateway") or entry.get("isDefaultGateway")):
            continue
        for pods in parse_ranges(entry, place)[0]:
            if pods.gateway is None:
                yield warning(
                    conflist.at(pods.place),
                    f"no gateway is set, so this node takes {pods.default_gateway}",
                    cause="every node without one takes the subnet's first address, and in an"
                    " overlay all of them answer for it",
                    cure="set gateway to an address that only this node has",
                )


def gateway_in_range(conflist: Conflist) -> Iterator[Finding]:
    """The gateway's address is none of those that pods get."""
    for pods in _ranges(conflist):
        if pods.gateway is not None and pods.has(pods.gateway):
            yield note(
                conflist.at(f"{pods.place}.gateway"),
                f"the gateway {pods.gateway} lies within the pods' range {pods}",
                cause="host-local leaves it out on this node; a second range with the same"
                " addresses elsewhere would not",
                cure="begin the range behind it",
            )


def vtep_in_pod_subnet(conflist: Conflist) -> Iterator[Finding]:
    """The nodes' addresses lie outside of the overlay that is built on them."""
    vteps = [vtep for network in networks_of([conflist]) for vtep in network.options.vteps]
    for pods, vtep in product(_ranges(conflist), vteps):
        if ipaddress.ip_address(vtep) in pods.subnet:
            yield error(
                conflist.at(pods.place),
                f"the VTEP {vtep} lies in the pods' subnet {pods.subnet}",
                cause="the way to that node would lead into the overlay, which needs that very way",
                cure="vtepIPs are the nodes' own addresses; choose another subnet",
            )


def _ranges(conflist: Conflist) -> list[PodRange]:
    """The ranges of all bridge plugins in the list."""
    return [
        pods for place, entry in conflist.of_type(BRIDGE) for pods in parse_ranges(entry, place)[0]
    ]


CHECKS: tuple[Check[Conflist], ...] = (
    Check("address-ranges", "the pods' ranges are ones that host-local takes", address_ranges),
    Check("own-range", "this node gives addresses from a range of its own", own_range),
    Check("own-gateway", "this node's gateway address is set", own_gateway),
    Check("gateway-in-range", "the gateway's address is no pod's", gateway_in_range),
    Check("vtep-in-pod-subnet", "the nodes' addresses are outside of the pods' subnet",
          vtep_in_pod_subnet),
)  # fmt: skip
