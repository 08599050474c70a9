# SPDX-License-Identifier: Apache-2.0
"""Names of tunnel ports and of locks, and the marks by which we know our own rows.

A name has at most 15 bytes: OpenFlow cuts longer ones off, so that 192.168.100.101 and .102 would
look alike (ovs-vswitchd.conf.db(5), "Interface.name"). Port names are unique in all of OVSDB, not
only on their bridge, so there is a second candidate for a tunnel whose first name is taken, for
example by another network's tunnel to the same node.
"""

from __future__ import annotations

from linen.light import sock

NAME_LIMIT = 15
PREFIX = "vxif"

MARK_NETWORK = "linen-network"  # the network's name in its CNI configuration
MARK_MAKER = "linen-maker"  # which program answers for the row
MARK_BRIDGE = "linen-bridge"  # on a tunnel: the OVS bridge that it belongs on
MARK_VNI = "linen-vni"  # on a bridge: the VNI of its network

MAKER_PLUGIN, MAKER_FLAXD = "plugin", "flaxd"

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


def first_name(vtep: str) -> str:
    """The name for a tunnel to `vtep`."""
    if ":" in vtep:
        return PREFIX + _short_hash(vtep)
    name = PREFIX + vtep.replace(".", "_")
    return name if len(name) <= NAME_LIMIT else PREFIX + sock.ip_bytes(vtep).hex()


def second_name(vtep: str, network: str, key: str) -> str:
    """The name for a tunnel to `vtep` where the first is taken."""
    return PREFIX + _short_hash(f"{network}/{key}/{vtep}")


# The lock of OVSDB that each flaxd asks for, whatever its network, so that one of them has it. No
# network's is called so.
FLAXD_LOCK = "linen"


def writers_lock(network: str) -> str:
    """The lock of OVSDB that the one daemon has that may change this network's rows on a host.

    Such a name has letters, digits and underscores only (RFC 7047, section 3.1, "<id>").
    """
    plain = (c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in network)
    return "linen_" + "".join(plain)


def _short_hash(text: str) -> str:
    """11 characters that stand for `text`: 55 bits of its 64-bit FNV-1a hash, in base 32."""
    value = _FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return "".join(_BASE32[value >> shift & 31] for shift in range(0, 55, 5))
