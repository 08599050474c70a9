# SPDX-License-Identifier: Apache-2.0
"""How a Linux bridge is set, beyond what is asked of every device."""

from __future__ import annotations

from linen.light import sock
from linen.netlink import codec
from linen.netlink.blocking import ABSENT, DATAGRAM, ROUTING

INFO_DATA, VLAN_FILTERING = 2, 7  # IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING (linux/if_link.h)


def filters_vlans(name: str) -> bool | None:
    """Whether the Linux bridge `name` tells VLANs apart (`vlan_filtering`); None if it is none.

    Raises `NetlinkError`.
    """
    routing = sock.netlink_socket(ROUTING)
    try:
        routing.send(codec.get_link(name))
        for _, message in codec.messages(routing.recv(DATAGRAM)):
            return _filters_vlans(message)
    except codec.NetlinkError as error:
        if error.errno not in ABSENT:
            raise
    finally:
        routing.close()
    return None


def _filters_vlans(message: bytes) -> bool | None:
    found = dict(codec.attributes(message, codec.HEADER_SIZE + codec.LINK_SIZE))
    information = dict(codec.attributes(found.get(codec.IFLA_LINKINFO, b""), 0))
    if codec.text(information.get(codec.IFLA_INFO_KIND, b"")) != "bridge":
        return None
    return bool(dict(codec.attributes(information[INFO_DATA], 0))[VLAN_FILTERING][0])
