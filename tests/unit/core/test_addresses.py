# SPDX-License-Identifier: Apache-2.0
"""Addresses of tunnel ends, with the standard library's `ipaddress` as the oracle."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.core import addresses


@given(st.ip_addresses())
def test_agrees_with_ipaddress(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """An address is taken exactly if `ipaddress` calls it unicast, and no link's or host's own."""
    is_broadcast = address.version == 4 and int(address) >> 28 == 15
    is_scoped = address.version == 6 and address.is_link_local
    is_mapped = address.version == 6 and address.ipv4_mapped is not None
    is_own = address.is_loopback or (address.version == 4 and int(address) >> 24 == 0)
    is_special = address.is_multicast or address.is_unspecified or is_mapped or is_own
    fit = not (is_special or is_broadcast or is_scoped)

    if fit:
        parsed = ipaddress.ip_address(addresses.parse_vtep(address.exploded))
        assert address == parsed
    else:
        with pytest.raises(ValueError, match="address"):
            addresses.parse_vtep(address.exploded)


@pytest.mark.parametrize("text", ["", "node1", "10.0.0", "10.0.0.256", "::g", "10.0.0.1\0", " ::1"])
def test_refuses_what_is_no_address(text: str) -> None:
    """A host's name, a piece of an address, or an address with more around it is refused."""
    with pytest.raises(ValueError, match="is not an IPv4 or IPv6 address"):
        addresses.parse_vtep(text)


@pytest.mark.parametrize("text", ["::ffff:10.0.0.1", "::ffff:a00:1", "::FFFF:10.0.0.1"])
def test_refuses_ipv4_in_the_clothes_of_ipv6(text: str) -> None:
    """An IPv4 address written as IPv6 is refused: Open vSwitch takes both for the same peer."""
    with pytest.raises(ValueError, match=r"is an IPv4 address: write 10\.0\.0\.1"):
        addresses.parse_vtep(text)


def test_writes_each_address_one_way() -> None:
    """Two notations of one IPv6 address become the same text, as RFC 5952 wants it."""
    assert addresses.parse_vtep("FD00:0:0::000A") == "fd00::a"
