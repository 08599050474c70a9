# SPDX-License-Identifier: Apache-2.0
"""The addresses that `host-local` gives to a node's pods, as its configuration tells.

Its two forms: `subnet` … at the top level of `ipam`, and lists of them in `ranges`
(plugins/ipam/host-local/backend/allocator/config.go).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from linen.cni import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = Any

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

HOST_LOCAL = "host-local"
LARGEST_PREFIX_BACKOFF = 2  # host-local refuses a /31 and a /32


@dataclass(frozen=True)
class PodRange:
    """One range. `start`, `end`, `gateway`: None where the configuration leaves them open."""

    place: str
    subnet: Subnet
    start: Address | None
    end: Address | None
    gateway: Address | None

    @property
    def default_gateway(self) -> Address:
        """The gateway where none is set."""
        return self.subnet.network_address + 1

    @property
    def first(self) -> Address:
        """The lowest address of a pod."""
        return self.start or self.subnet.network_address + 1

    @property
    def last(self) -> Address:
        """The highest address of a pod."""
        return self.end or self.subnet.broadcast_address - (self.subnet.version == 4)

    def has(self, address: Address) -> bool:
        """Whether a pod may get this address."""
        same_family = address.version == self.subnet.version
        return same_family and int(self.first) <= int(address) <= int(self.last)

    def overlaps(self, other: PodRange) -> bool:
        """Whether both may give the same address."""
        same_family = other.subnet.version == self.subnet.version
        return (
            same_family
            and int(self.first) <= int(other.last)
            and int(other.first) <= int(self.last)
        )

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True)
class RangeFault:
    """A value that host-local refuses."""

    place: str
    what: str


def parse_ranges(entry: dict[str, Json], place: str) -> tuple[list[PodRange], list[RangeFault]]:
    """The ranges of a plugin's entry, and what is wrong with others. None without host-local."""
    ranges: list[PodRange] = []
    faults: list[RangeFault] = []
    for range_place, conf in _range_objects(entry, place):
        try:
            ranges.append(_parse_range(conf, range_place))
        except _Wrong as wrong:
            faults.append(RangeFault(*wrong.args))
    return ranges, faults


class _Wrong(Exception):
    """Place, and what is wrong there."""


def _range_objects(entry: dict[str, Json], place: str) -> Iterator[tuple[str, dict[str, Json]]]:
    ipam = entry.get("ipam")
    if not isinstance(ipam, dict) or ipam.get("type") != HOST_LOCAL:
        return
    if "subnet" in ipam:
        yield f"{place}.ipam", ipam
    sets = ipam.get("ranges")
    for outer, members in enumerate(sets if isinstance(sets, list) else []):
        for inner, conf in enumerate(members if isinstance(members, list) else []):
            if isinstance(conf, dict):
                yield f"{place}.ipam.ranges[{outer}][{inner}]", conf


def _parse_range(conf: dict[str, Json], place: str) -> PodRange:
    subnet = _parse_subnet(conf.get("subnet"), f"{place}.subnet")
    start, end, gateway = (
        _parse_address(conf.get(key), f"{place}.{key}", subnet)
        for key in ("rangeStart", "rangeEnd", "gateway")
    )
    found = PodRange(place, subnet, start, end, gateway)
    if int(found.first) > int(found.last):
        raise _Wrong(place, f"the range is empty: {found.first} comes after {found.last}")
    return found


def _parse_subnet(value: Json, place: str) -> Subnet:
    if not isinstance(value, str):
        raise _Wrong(place, f"must be a subnet such as 10.244.0.0/16, is {options.kind(value)}")
    try:
        subnet = ipaddress.ip_network(value)
    except ValueError as error:
        raise _Wrong(place, str(error)) from None
    if subnet.prefixlen > subnet.max_prefixlen - LARGEST_PREFIX_BACKOFF:
        raise _Wrong(place, f"{subnet} is too small to give addresses from")
    return subnet


def _parse_address(value: Json, place: str, subnet: Subnet) -> Address | None:
    if value in (None, ""):
        return None
    try:
        address = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise _Wrong(place, f"{options.kind(value)} is not an IP address") from None
    if address not in subnet:
        raise _Wrong(place, f"{address} is not in the subnet {subnet}")
    return address
