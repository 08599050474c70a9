# SPDX-License-Identifier: Apache-2.0
"""IP addresses as the plugin needs them: parsed, in one notation, fit to be a tunnel's end."""

from __future__ import annotations

from linen.light import sock

# Outer Ethernet header is not counted: MTU is about what an Ethernet frame carries.
# VXLAN 8 + UDP 8 + inner Ethernet 14 + IP 20 or 40 (RFC 7348, section 5).
OVERHEAD_IPV4 = 50
OVERHEAD_IPV6 = 70

SMALLEST_MTU = 576  # bytes that every IPv4 host takes (RFC 791)
IPV6_MTU = 1280  # RFC 8200, section 5; the kernel has no IPv6 on a device with less

IPV6_LOOPBACK = bytes(15) + b"\x01"  # RFC 4291, 2.5.3
IPV4_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2; Open vSwitch takes it for IPv4


def parse_vtep(text: str) -> str:
    """An address that can be a tunnel's end, in its usual notation.

    Raises `ValueError` whose text says what is wrong with it.
    """
    try:
        address = sock.ip_bytes(text)
    except ValueError:
        raise ValueError("is not an IPv4 or IPv6 address") from None
    if not any(address):
        raise ValueError("is the unspecified address, not a node's")
    if len(address) == 4:
        is_group = address[0] >= 224
        is_lookers_own = address[0] in (0, 127)
    else:
        is_group = address[0] == 0xFF
        is_lookers_own = address == IPV6_LOOPBACK
        if address.startswith(IPV4_MAPPED):
            ipv4 = sock.ip_text(address[len(IPV4_MAPPED) :])
            raise ValueError(f"is an IPv4 address: write {ipv4}")
        if address[0] == 0xFE and address[1] & 0xC0 == 0x80:
            raise ValueError("is link-local: a tunnel's end needs a global or unique-local address")
    if is_lookers_own:
        raise ValueError("is an address of whoever looks at it, not a node's")
    if is_group:
        raise ValueError("is a multicast or broadcast address, not a node's")
    return sock.ip_text(address)


def overhead(vtep: str) -> int:
    """Bytes that VXLAN to `vtep` adds to each packet of a pod."""
    return OVERHEAD_IPV6 if ":" in vtep else OVERHEAD_IPV4
