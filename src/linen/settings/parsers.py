# SPDX-License-Identifier: Apache-2.0
"""What a setting's value may be: from what YAML made of a text to what the daemon works with.

Each parser raises `Wrong`, which says what would be right; where the value was is not known here.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING

from linen.cni import options, request
from linen.core import addresses
from linen.kube.account import AccountName

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.light.json import Json

ACCOUNT_NAME = re.compile(r"([a-z0-9][-a-z0-9]{0,62})/([a-z0-9][-a-z0-9.]{0,252})")
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123, as Kubernetes has it


class Invalid(Exception):
    """Of what was given, something is wrong. `faults`: one sentence each, all of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def parse_text(value: Json) -> str:
    """Any text but an empty one."""
    if isinstance(value, str) and value:
        return value
    raise options.Wrong(f"must be a text, is {options.kind(value)}")


def parse_path(value: Json) -> Path:
    """A file's or a folder's path."""
    return Path(parse_text(value))


def parse_node(value: Json) -> str:
    """A Node's name."""
    if isinstance(value, str) and NODE_NAME.fullmatch(value):
        return value
    raise options.Wrong(
        f"must be a node's name (lower-case letters, digits, - and .), is {options.kind(value)}"
    )


def parse_account(value: Json) -> AccountName:
    """A service account, as NAMESPACE/NAME."""
    match = ACCOUNT_NAME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise options.Wrong(f"must be NAMESPACE/NAME, is {options.kind(value)}")
    return AccountName(match[1], match[2])


def parse_network(value: Json) -> str:
    """A network's name, as CNI has it."""
    text = parse_text(value)
    if fault := request.identifier_fault(text):
        raise options.Wrong(f"{options.kind(text)} {fault}")
    return text


def parse_interface(value: Json) -> str:
    """A network device's name."""
    text = parse_text(value)
    if fault := request.interface_name_fault(text):
        raise options.Wrong(f"{options.kind(text)} is no device's name: it {fault}")
    return text


def parse_vtep(value: Json) -> str:
    """A tunnel's end: an address that a node can have."""
    try:
        return addresses.parse_vtep(value if isinstance(value, str) else "")
    except ValueError as error:
        raise options.Wrong(f"{options.kind(value)} {error}") from None


def parse_ranges(value: Json) -> tuple[str, ...]:
    """CIDRs, from a list or a text with commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise options.Wrong(f"must be a CIDR or a list of CIDRs, is {options.kind(value)}")
    ranges = []
    for item in items:
        try:
            cidr = str(ipaddress.ip_network(item.strip() if isinstance(item, str) else ""))
        except ValueError as error:
            raise options.Wrong(f"{options.kind(item)} is no CIDR: {error}") from None
        if "%" in cidr:  # RFC 4007, 11.2; `ipaddress` takes it
            raise options.Wrong(f"{options.kind(item)} has a zone, which a range cannot have")
        ranges.append(cidr)
    return tuple(ranges)


def number_parser(smallest: float, largest: float, unit: str) -> Callable[[Json], Json]:
    """A parser of numbers from `smallest` to `largest`, and of 0, which is off."""

    def parse_number(value: Json) -> Json:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and (value == 0 or smallest <= value <= largest):
            return value
        raise options.Wrong(
            f"must be 0 (off) or from {smallest:g} to {largest:g} {unit}, is {options.kind(value)}"
        )

    return parse_number


def parse_mtu(value: Json) -> int:
    """Bytes of a packet."""
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and addresses.SMALLEST_MTU <= value <= 65535
    ):
        return value
    raise options.Wrong(
        f"must be from {addresses.SMALLEST_MTU} to 65535 bytes, is {options.kind(value)}"
    )


def parse_listen(value: Json) -> tuple[str, int]:
    """ADDRESS:PORT, to listen at."""
    host, _, port = parse_text(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        if 0 <= int(port) <= 65535:
            return host, int(port)
    except ValueError:
        pass
    raise options.Wrong(f"must be ADDRESS:PORT, e.g. 127.0.0.1:9474, is {options.kind(value)}")


def choice_parser(*allowed: str) -> Callable[[Json], str]:
    """A parser of one of these words."""

    def parse_choice(value: Json) -> str:
        if value in allowed:
            return str(value)
        raise options.Wrong(f"must be one of {', '.join(allowed)}, is {options.kind(value)}")

    return parse_choice
