# SPDX-License-Identifier: Apache-2.0
"""What the daemon changes on the kernel's devices."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from linen.host.errors import HostError
from linen.netlink.blocking import Netlink
from linen.netlink.codec import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.flaxd.reconcile import Placing
    from linen.netlink.codec import Link

log = logging.getLogger("flaxd")


def put_in_place(placing: Placing) -> None:
    """Put the OVS bridge's device on the Linux bridge, and set it up. Raises `HostError`."""
    port, bridge = placing.port, placing.linux_bridge
    with _kernel(f"device {port.name} cannot be put on Linux bridge {bridge.name}") as netlink:
        netlink.enslave(port, bridge)
    log.info("put device %s on Linux bridge %s", port.name, bridge.name)


def set_mtu(link: Link, mtu: int) -> None:
    """Give a device an MTU. Raises `HostError`."""
    with _kernel(f"device {link.name} cannot be given an MTU of {mtu}") as netlink:
        netlink.set_mtu(link, mtu)
    log.info("gave device %s an MTU of %d instead of %d", link.name, mtu, link.mtu)


@contextmanager
def _kernel(failure: str) -> Iterator[Netlink]:
    netlink = Netlink()
    try:
        yield netlink
    except NetlinkError as error:
        raise HostError(f"{failure}: {reason(error)}") from None
    finally:
        netlink.close()


def reason(error: NetlinkError) -> str:
    """Why the kernel refuses a change, and what would help."""
    remedy = ": flaxd needs CAP_NET_ADMIN" if error.errno == errno.EPERM else ""
    return f"{os.strerror(error.errno)}{remedy}"
