# SPDX-License-Identifier: Apache-2.0
"""How a Linux bridge is set, beyond what is asked of every device."""

from __future__ import annotations

from linen.netlink import codec
from linen.netlink.blocking import ABSENT, Netlink

INFO_DATA, VLAN_FILTERING = 2, 7  # IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING (linux/if_link.h)


def filters_vlans(name: str) -> bool | None:
    """Whether the Linux bridge `name` tells VLANs apart (`vlan_filtering`); None if it is none.

    Raises `NetlinkError`.
    """
    netlink = Netlink()
    try:
        message = netlink.ask(codec.get_link(name))
    except codec.NetlinkError as error:
        if error.errno in ABSENT:
            return None
        raise
    finally:
        netlink.close()
    found = dict(codec.attributes(message, codec.HEADER_SIZE + codec.LINK_SIZE))
    information = dict(codec.attributes(found.get(codec.IFLA_LINKINFO, b""), 0))
    if codec.text(information.get(codec.IFLA_INFO_KIND, b"")) != "bridge":
        return None
    return bool(dict(codec.attributes(information[INFO_DATA], 0))[VLAN_FILTERING][0])
