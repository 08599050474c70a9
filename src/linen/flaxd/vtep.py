# SPDX-License-Identifier: Apache-2.0
"""Which of this node's addresses its tunnels end at.

All nodes have to choose the same IP version, since packets of one never reach a node that tells
the others its address of the other one. Each knows only its own addresses, so the rule has to be
simple: IPv4 where there is an IPv4 address, unless `vtep-family` says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.host.settings import Settings
    from linen.netlink.monitor import Monitor

RT_SCOPE_UNIVERSE = 0  # linux/rtnetlink.h
NAMES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def candidates(settings: Settings, links: Monitor, internal_ips: Sequence[str]) -> list[str]:
    """The addresses that come into question: the device's that is set, else the InternalIPs."""
    if settings.vtep_interface is None:
        return list(internal_ips)
    found = links.addresses_of(settings.vtep_interface)
    return [address.ip for address in found if address.scope == RT_SCOPE_UNIVERSE]


def choose(settings: Settings, own: Sequence[str]) -> str | None:
    """This node's tunnel address: as set, else one of `own`, which are the candidates."""
    if settings.vtep_ip is not None:
        return settings.vtep_ip
    ipv4 = [address for address in own if ":" not in address]
    ipv6 = [address for address in own if ":" in address]
    fitting = {None: ipv4 + ipv6, "ipv4": ipv4, "ipv6": ipv6}[settings.vtep_family]
    return fitting[0] if fitting else None


def fault(settings: Settings, own: Sequence[str]) -> str:
    """Why there is none, and what would be right; empty where there is one."""
    if choose(settings, own) is not None:
        return ""
    device = settings.vtep_interface
    place = f"device {device} has" if device is not None else "the Node has"
    what = "address that others can reach" if device is not None else "InternalIP"
    version = f"{NAMES[settings.vtep_family]} " if settings.vtep_family else ""
    cure = f", but {', '.join(own)}: give it one, or change vtep-family" if own else ""
    return f"this node has no tunnel address: {place} no {version}{what}{cure}"
