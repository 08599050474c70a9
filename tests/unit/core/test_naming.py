# SPDX-License-Identifier: Apache-2.0
"""Names of tunnel ports and locks."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from linen.core import addresses, naming


@pytest.mark.parametrize(
    ("vtep", "name"),
    [
        ("10.245.2.3", "vxif10_245_2_3"),
        ("10.245.2.33", "vxif10_245_2_33"),
        ("192.168.100.101", "vxifc0a86465"),
        ("192.168.100.102", "vxifc0a86466"),
    ],
)
def test_original_name_where_it_fits(vtep: str, name: str) -> None:
    """A port has the original's name where that has at most 15 bytes, else the address in hex."""
    assert name == naming.first_name(vtep)


@given(st.ip_addresses(), st.text(max_size=40), st.sampled_from(["flow", "7", "16777215"]))
def test_names_fit_openflow(address: object, network: str, key: str) -> None:
    """Both candidates have at most 15 bytes and differ, whatever the address and the network."""
    first = naming.first_name(str(address))
    second = naming.second_name(str(address), network, key)

    assert len(first.encode()) <= 15
    assert len(second.encode()) <= 15
    assert first != second


@given(st.ip_addresses(v=6))
def test_an_address_has_one_name(address: ipaddress.IPv6Address) -> None:
    """However an IPv6 address is written, its tunnel has one name once it has been parsed."""
    spellings = {address.exploded, address.compressed, address.exploded.upper()}

    try:
        names = {naming.first_name(addresses.parse_vtep(text)) for text in spellings}
    except ValueError:
        assume(False)  # it is no address of a node

    assert len(names) == 1


def test_ten_thousand_peers_have_names_of_their_own() -> None:
    """No two of 10,000 IPv4 and 10,000 IPv6 peers share a first name."""
    peers = [f"10.{i >> 8}.{i & 255}.{i % 251}" for i in range(10_000)]
    peers += [f"fd00:{i:x}::{i % 977:x}" for i in range(10_000)]

    names = {naming.first_name(peer) for peer in peers}

    assert len(names) == len(set(peers))


def test_networks_have_second_names_of_their_own() -> None:
    """Two networks with a tunnel to the same peer have different second names."""
    blue = naming.second_name("10.245.2.3", "blue", "7")
    green = naming.second_name("10.245.2.3", "green", "8")

    assert blue != green


@given(st.lists(st.text(max_size=40), min_size=2, max_size=2, unique=True))
def test_networks_have_locks_of_their_own(networks: list[str]) -> None:
    """Each network's lock has a name that OVSDB takes, and that is no other network's."""
    first, second = map(naming.writers_lock, networks)

    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", first)
    assert first != second
