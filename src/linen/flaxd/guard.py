# SPDX-License-Identifier: Apache-2.0
"""Keeps pods from sending VXLAN by themselves.

A packet that a pod sends to a node leaves with this node's address, if it is masqueraded, and a pod
may as well write a false sender itself. Open vSwitch would take such a packet for one of this
node's, of whatever network. So UDP to the network's port is dropped where it comes from the Linux
bridge, before the host routes it. (What goes from pod to pod through the OVS bridge is not routed:
in topology flow a rule drops it there.)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from typing import TYPE_CHECKING

from linen.core.flows import VXLAN_PORT
from linen.netlink.codec import NetlinkError
from linen.netlink.nftables import TABLE_PREFIX, Nftables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from linen.host.settings import Settings

log = logging.getLogger("flaxd.guard")

INTERVAL = 10.0  # seconds until it is seen that somebody has emptied the firewall
IMPATIENCE = 0.2  # seconds between looks while this node's tunnel address is not known


class Guard:
    """Keeps one table of nftables. `fault`: why it can't; empty while it does.

    `underlay`: the devices that other nodes' packets come in by, None while they aren't known.
    `on_change`: called when `fault` is another.
    """

    def __init__(
        self,
        settings: Settings,
        underlay: Callable[[], Collection[str] | None],
        on_change: Callable[[], None],
    ) -> None:
        self.fault = ""
        self._underlay = underlay
        self._table = f"{TABLE_PREFIX}{settings.network}"
        self._device = settings.linux_bridge
        self._port = settings.overlay.dst_port or VXLAN_PORT
        self._on_change = on_change

    async def run(self) -> None:
        """Look every few seconds until cancelled. The table stays."""
        while True:
            underlay = self._underlay()
            if underlay is None:
                await asyncio.sleep(IMPATIENCE)
                continue
            before, self.fault = self.fault, self._ensure(underlay)
            if self.fault != before:
                self._on_change()
            await asyncio.sleep(INTERVAL)

    def _ensure(self, underlay: Collection[str]) -> str:
        """Have the table; why it isn't there, or nothing."""
        try:
            nftables = Nftables()
        except OSError as error:
            return self._text(error.strerror or str(error))
        try:
            if self._device in underlay:  # the table would drop what other nodes send
                if self._table in nftables.tables():
                    nftables.remove(self._table)
                return self._text(f"{self._device} has the tunnels' address as well as the pods")
            if not nftables.drops(self._table, self._device, self._port):
                nftables.drop(self._table, self._device, self._port)
                log.info("pods cannot send VXLAN: added table inet %s of nftables", self._table)
        except NetlinkError as error:
            remedy = ": flaxd needs CAP_NET_ADMIN" if error.errno == errno.EPERM else ""
            return self._text(f"{os.strerror(error.errno)}{remedy}")
        finally:
            nftables.close()
        return ""

    def _text(self, reason: str) -> str:
        return (
            f"pods can send VXLAN to nodes, into any network: nftables' table {self._table} cannot"
            f" be made: {reason}"
        )
