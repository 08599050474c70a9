# SPDX-License-Identifier: Apache-2.0
"""Links and addresses of the underlay, by netlink and ethtool ioctls.

Each function acts on the network namespace that its thread is in (see `namespaces`).
pyroute2 is imported when it is used: it takes 0.2 s, and most of `linenctl lab` does without.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from linen.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Interface, IPv6Interface

    from pyroute2 import IPRoute

FABRIC = "fabric"
UPLINK = "eth0"

# Userspace OVS reads frames from AF_PACKET sockets, where a checksum that was left to the
# hardware is simply missing, and where segments larger than the MTU arrive whole.
_OFFLOADS = (
    "tx-checksumming",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
)
_NO_DUPLICATE_ADDRESS_DETECTION = 2  # IFA_F_NODAD, linux/if_addr.h


def build_fabric() -> None:
    """Make the Linux bridge that joins the nodes, a plain learning switch."""
    for scope in ("all", "default"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
    with _open_route() as route:
        route.link("add", ifname=FABRIC, kind="bridge", br_mcast_snooping=0)
        set_link_state(FABRIC, up=True)


def plug_cables(ends: Iterable[tuple[str, int]]) -> None:
    """Give each node a cable: `eth0` in the node, a port with the node's name in the fabric.

    `ends` are pairs of the node's name and a file descriptor of its network namespace.
    """
    with _open_route() as route:
        fabric = _index_of(route, FABRIC)
        for name, namespace in ends:
            peer = {"ifname": UPLINK, "net_ns_fd": namespace}
            route.link("add", ifname=name, kind="veth", peer=peer)
            port = _index_of(route, name)
            route.link("set", index=port, master=fabric, state="up")


def set_link_state(name: str, *, up: bool) -> None:
    """Set a link administratively up or down."""
    with _open_route() as route:
        index = _index_of(route, name)
        route.link("set", index=index, state="up" if up else "down")


def silence_arp(name: str) -> None:
    """Let the kernel neither ask nor answer on a link who has an address.

    By itself it answers on each link for the addresses of all (ip-sysctl, arp_ignore).
    """
    with _open_route() as route:
        index = _index_of(route, name)
        route.link("set", index=index, arp=False)


def add_address(name: str, address: IPv4Interface | IPv6Interface) -> None:
    """Add an address to a link and set the link up; an IPv6 address can be used at once."""
    flags = {"flags": _NO_DUPLICATE_ADDRESS_DETECTION} if address.version == 6 else {}
    with _open_route() as route:
        index = _index_of(route, name)
        prefix = address.network.prefixlen
        route.addr("add", index=index, address=str(address.ip), prefixlen=prefix, **flags)
        route.link("set", index=index, state="up")


def disable_offloads(names: Iterable[str]) -> None:
    """Make the kernel finish each frame before it leaves by one of these links."""
    from pyroute2.ethtool.ioctl import IoctlEthtool, NotSupportedError

    for name in names:
        device = IoctlEthtool(name)
        for offload in _OFFLOADS:
            # Not supported: then the device never leaves this work to hardware.
            with contextlib.suppress(NotSupportedError):
                device.set_offload_flag(offload, data=0)
        device.close()


@contextlib.contextmanager
def _open_route() -> Iterator[IPRoute]:
    """Open a netlink socket; LabError quotes what the kernel refuses."""
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        reason = os.strerror(error.code)
        raise LabError(f"the kernel refuses to make or change a link: {reason}") from error


def _index_of(route: IPRoute, name: str) -> int:
    for index in route.link_lookup(ifname=name):
        return int(index)
    raise LabError(f"there is no link {name} any more; `linenctl lab down` and `up` make it anew")
