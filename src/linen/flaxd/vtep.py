# SPDX-License-Identifier: Apache-2.0
"""Which of this node's addresses its tunnels end at.

All nodes have to choose the same IP version, since packets of one never reach a node that tells
the others its address of the other one. Each knows only its own addresses, so the rule has to be
simple: IPv4 where there is an IPv4 address, unless `vtep-family` says otherwise.

An address that goes is often back at once. Who told the others each time that there is none, or
one of the other IP version, would lose its tunnels on every node of the cluster.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linen.netlink.monitor import Monitor
    from linen.settings.table import Settings

RT_SCOPE_UNIVERSE = 0  # linux/rtnetlink.h
NAMES = {"ipv4": "IPv4", "ipv6": "IPv6"}
# Seconds that an address may be away. A restart of systemd-networkd or of a DHCP client takes one
# or a few; a kubelet, which can miss an InternalIP, looks at its Node's addresses every 10 s.
PATIENCE = 20.0


def candidates(settings: Settings, monitor: Monitor, internal_ips: Sequence[str]) -> list[str]:
    """The addresses that come into question: the device's that is set, else the InternalIPs."""
    if settings.vtep_interface is None:
        return list(internal_ips)
    found = monitor.addresses_of(settings.vtep_interface)
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


class Held:
    """This node's tunnel address, also while it is away for a moment.

    `address`: as others are to know it; None while there is none.
    `wake`: called when one has been away for too long, and is given up.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.address: str | None = None
        self._wake = wake
        self._alarm: asyncio.TimerHandle | None = None  # while it is away

    def follow(self, found: str | None, own: Sequence[str], *, may_move: bool = True) -> str | None:
        """The address from now on: `found`, or the one before, if that is none of `own` any more.

        `found`: what is chosen of `own`, the candidates. `may_move`: whether it counts at once
        where it is one of the same IP version, as one does that has replaced the other.
        """
        before = self.address
        if before in {None, found} or before in own:
            return self.take(found)
        if may_move and found is not None and (":" in found) == (":" in str(before)):
            return self.take(found)
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)
        return before

    def take(self, address: str | None) -> str | None:
        """The address from now on, which is this one."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.address = address
        return address

    def _give_up(self) -> None:
        self.take(None)
        self._wake()
