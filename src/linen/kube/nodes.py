# SPDX-License-Identifier: Apache-2.0
"""Node objects into values: a peer, or what is wrong with it.

Each daemon tells the others about its node in annotations of its own Node:

    linen-cni/vtep         one IPv4 or IPv6 address, the end of tunnels to this node
    linen-cni/pod-ranges   the pods' addresses on this node, as CIDRs with commas between them
    linen-cni/master       "true" on a master of a star; absent elsewhere
    linen-cni/version      version of this format; a newer one may add annotations, never change one

A Node is what somebody with access to the API server made of it: all of it is taken for hostile.
Nothing here raises, whatever comes; a value is used only after `ipaddress` or the core has parsed
it, in its canonical notation; lengths and numbers are bounded; a fault is one short sentence.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

from linen.core import addresses, cluster
from linen.kube.objects import items, mapping

PREFIX = "linen-cni/"
VTEP = PREFIX + "vtep"
POD_RANGES = PREFIX + "pod-ranges"
MASTER = PREFIX + "master"
VERSION = PREFIX + "version"
FORMAT = 1  # what we write, see VERSION
MASTER_LABEL = PREFIX + "master"  # "true" makes a Node a star's master: administrators set it

NETWORK_UNAVAILABLE = "NetworkUnavailable"

MOST_RANGES = 16
LONGEST_ANNOTATION = 1024  # characters; 16 IPv6 ranges have 700
LONGEST_NAME = 253  # of a Node: RFC 1123
EXCERPT = 60  # characters of a faulty value that are worth quoting
# A node has a part of its cluster's network; who claims more than these claims the Internet.
LEAST_PREFIX = {4: 8, 6: 32}


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a Node says about itself to its peers.

    `peer` is None while it says nothing, and when something in it is wrong: `fault` says what.
    `said`: the annotations that it is made of, as they are.
    """

    name: str
    peer: cluster.Peer | None = None
    fault: str = ""
    version: int = FORMAT
    said: tuple[str | None, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """The NetworkUnavailable condition. `status`: "True", "False" or "Unknown"."""

    status: str
    reason: str
    message: str
    since: str  # RFC 3339


@dataclass(frozen=True, slots=True)
class OwnNode:
    """What the daemon needs of its own Node.

    `vteps`: its InternalIPs, of each family the first. `pod_ranges`: its podCIDRs, empty until they
    are allocated. `annotations`: ours, as they are. `told`: what they say to the others, None where
    that is nothing, or wrong. `is_master`: labelled as a star's master. `faults`: what in it could
    not be used.
    """

    name: str
    uid: str
    vteps: tuple[str, ...] = ()
    pod_ranges: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    condition: Condition | None = None
    is_master: bool = False
    faults: tuple[str, ...] = ()
    told: cluster.Peer | None = None


def parse_record(node: Any, before: NodeRecord | None = None) -> NodeRecord | None:  # noqa: ANN401
    """What a Node, or its metadata alone, says to its peers; None if it has no name.

    `before`: what it said before, which is returned if these are still its very words: nearly all
    that changes in Nodes is the time of their heartbeats.
    """
    metadata = mapping(node, "metadata")
    name = metadata.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        return None
    ours = _ours(metadata)
    said = tuple(ours.get(key) for key in (VTEP, POD_RANGES, MASTER, VERSION))
    if before is not None and (before.name, before.said) == (name, said):
        return before
    if VTEP not in ours:
        return NodeRecord(name, said=said)
    faults: list[str] = []
    vtep = _value(ours, VTEP, addresses.parse_vtep, faults)
    ranges = _value(ours, POD_RANGES, parse_ranges, faults) or ()
    is_master = _value(ours, MASTER, _parse_bool, faults) or False
    version = _value(ours, VERSION, _parse_version, faults) or FORMAT
    if faults or vtep is None:
        fault = f"node {name}: {'; '.join(faults)}"
        return NodeRecord(name, fault=fault, version=version, said=said)
    peer = cluster.Peer(name, vtep, ranges=ranges, is_master=is_master)
    return NodeRecord(name, peer, version=version, said=said)


def parse_own(node: Any, _before: OwnNode | None = None) -> OwnNode | None:  # noqa: ANN401
    """What the daemon needs of its own Node; None if it has no name."""
    metadata, spec, status = (mapping(node, part) for part in ("metadata", "spec", "status"))
    name, uid = metadata.get("name"), metadata.get("uid")
    if not isinstance(name, str) or not isinstance(uid, str):
        return None
    faults: list[str] = []
    cidrs = [cidr for cidr in items(spec, "podCIDRs") if isinstance(cidr, str)]
    ranges = _checked("podCIDRs", ",".join(cidrs), parse_ranges, faults) if cidrs else ()
    record = parse_record(node)
    return OwnNode(
        name,
        uid,
        _internal_ips(status, faults),
        ranges or (),
        tuple(sorted(_ours(metadata).items())),
        _condition(status),
        mapping(metadata, "labels").get(MASTER_LABEL) == "true",
        tuple(faults),
        record.peer if record is not None else None,
    )


def parse_ranges(text: str) -> tuple[str, ...]:
    """CIDRs with commas between them, in their usual notation. Raises `ValueError`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_RANGES:
        raise ValueError(f"has {len(parts)} ranges, {MOST_RANGES} at most are possible")
    return tuple(str(_parse_range(part)) for part in parts)


def _parse_range(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("is no list of CIDRs, such as 10.244.1.0/24") from None
    if "%" in text:  # RFC 4007, 11.2; `ipaddress` takes it
        raise ValueError("has a range with a zone, which means something on its own node only")
    if network.prefixlen < LEAST_PREFIX[network.version]:
        raise ValueError(
            f"has a range of more than a /{LEAST_PREFIX[network.version]}, no node's part"
        )
    if network.is_multicast or network.is_loopback or network.is_link_local:
        raise ValueError("has a range that is not for pods: multicast, loopback or link-local")
    return network


def _parse_bool(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def _parse_version(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 6 and int(text)):
        raise ValueError("must be a number from 1 on")
    return int(text)


def _value(ours: dict[str, str], key: str, parse: Any, faults: list[str]) -> Any:  # noqa: ANN401
    """The parsed annotation `key`, None where it is missing or, with a fault noted, wrong."""
    return _checked(key, ours[key], parse, faults) if key in ours else None


def _checked(what: str, text: str, parse: Any, faults: list[str]) -> Any:  # noqa: ANN401
    if len(text) > LONGEST_ANNOTATION:
        faults.append(f"{what} is longer than {LONGEST_ANNOTATION} characters")
        return None
    try:
        return parse(text)
    except ValueError as error:
        faults.append(f"{what} {error}: {quoted(text)}")
        return None


def quoted(text: str) -> str:
    """The beginning of a text that may hold anything, printable and on one line."""
    return json.dumps(text[:EXCERPT]) + ("…" if len(text) > EXCERPT else "")


def _internal_ips(status: dict[str, Any], faults: list[str]) -> tuple[str, ...]:
    """The first usable InternalIP of each family, in the Node's order."""
    found: dict[bool, str] = {}
    for address in items(status, "addresses")[:64]:
        if not isinstance(address, dict) or address.get("type") != "InternalIP":
            continue
        text = address.get("address")
        if isinstance(text, str):
            vtep = _checked("InternalIP", text, addresses.parse_vtep, faults)
            if vtep is not None:
                found.setdefault(":" in vtep, vtep)
    return tuple(found.values())


def _condition(status: dict[str, Any]) -> Condition | None:
    for condition in items(status, "conditions"):
        if isinstance(condition, dict) and condition.get("type") == NETWORK_UNAVAILABLE:
            keys = ("status", "reason", "message", "lastTransitionTime")
            return Condition(*(str(condition.get(key) or "") for key in keys))
    return None


def _ours(metadata: dict[str, Any]) -> dict[str, str]:
    return {
        key: value
        for key, value in mapping(metadata, "annotations").items()
        if key.startswith(PREFIX) and isinstance(value, str)
    }
