# SPDX-License-Identifier: Apache-2.0
"""The Linux bridges that the `bridge` plugin made for our networks, once nothing hangs on them.

That plugin removes no bridge. One that is empty, and has no address but its network's gateways, was
there for that network alone, so it goes with it; any other stays.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyroute2 import IPRoute

    from linen.host.conflists import Network

PATIENCE = 5.0  # seconds for ovs-vswitchd to remove the devices of bridges that are gone
LOOK_AGAIN = 0.02  # seconds
NAMED = 3  # ports that a reason names


@dataclass(frozen=True)
class Outcome:
    """What became of one Linux bridge: removed, or, with a reason, not."""

    name: str
    reason: str = ""


def gateways(network: Network) -> set[str]:
    """The addresses that the bridge plugin gives to a network's Linux bridge."""
    return {str(pods.gateway or pods.default_gateway) for pods in network.pod_ranges}


def remove_idle(name: str, own: Collection[str], leaving: Collection[str]) -> Outcome | None:
    """Remove the Linux bridge `name` if it is idle; None where there is none.

    `own`: the addresses that it may have. `leaving`: devices that are about to go by themselves.
    """
    from pyroute2 import IPRoute  # 0.3 s, which other commands need not wait for

    with IPRoute() as kernel:
        index = _find_bridge(kernel, name)
        if index is None:
            return None
        if ports := _wait_until_left(kernel, index, leaving):
            more = ", …" if len(ports) > NAMED else ""
            return Outcome(name, f"{', '.join(sorted(ports)[:NAMED])}{more} hang on it")
        if foreign := _addresses(kernel, index) - set(own):
            return Outcome(name, f"its address {', '.join(sorted(foreign))} is not the network's")
        kernel.link("del", index=index)
        return Outcome(name)


def _find_bridge(kernel: IPRoute, name: str) -> int | None:
    for link in kernel.get_links(ifname=name):
        information = link.get_attr("IFLA_LINKINFO")
        if information is not None and information.get_attr("IFLA_INFO_KIND") == "bridge":
            return int(link["index"])
    return None


def _wait_until_left(kernel: IPRoute, index: int, leaving: Collection[str]) -> set[str]:
    """The ports of a Linux bridge that stay."""
    deadline = time.monotonic() + PATIENCE
    while True:
        ports = {
            str(link.get_attr("IFLA_IFNAME"))
            for link in kernel.get_links()
            if link.get_attr("IFLA_MASTER") == index
        }
        if not ports or ports - set(leaving) or time.monotonic() > deadline:
            return ports
        time.sleep(LOOK_AGAIN)


def _addresses(kernel: IPRoute, index: int) -> set[str]:
    """Those that somebody gave it: the kernel makes link-local ones by itself."""
    found = {str(address.get_attr("IFA_ADDRESS")) for address in kernel.get_addr(index=index)}
    return {text for text in found if not ipaddress.ip_address(text).is_link_local}
