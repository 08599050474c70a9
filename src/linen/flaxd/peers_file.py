# SPDX-License-Identifier: Apache-2.0
"""The cluster's nodes from a file, for clusters without Kubernetes.

JSON or YAML, this node included:

    {"clusterRange": "10.244.0.0/16", "nodes": [
      {"name": "node1", "vtep": "10.245.2.2", "ranges": ["10.244.1.0/24"], "master": true},
      {"name": "node2", "vtep": "10.245.2.3", "ranges": ["10.244.2.0/24"], "master": false}
    ]}

The file is watched and read again whenever it is written or replaced. A faulty one changes
nothing: the daemon says what is wrong and goes on with the nodes that it knows.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import yaml

from linen.cni import options
from linen.core import cluster
from linen.core.routes import parse_range
from linen.settings.parsers import Invalid, parse_ranges
from linen.settings.table import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from linen.core.routes import Range
    from linen.light.json import Json

NOBODY: Mapping[str, cluster.Peer] = {}
DEFAULTS: dict[str, Json] = {"ranges": [], "master": False}
LARGEST_FILE = 16 << 20  # bytes; 10,000 nodes have about 1 MB


class PeersInvalid(Invalid):
    """The file cannot be used."""


def read(
    path: Path,
    own: str,
    known: Mapping[str, cluster.Peer] = NOBODY,
    *,
    may_overlap: bool = False,
) -> cluster.View:
    """The cluster as the file has it, seen from node `own`. Raises `PeersInvalid`.

    `known`: the nodes that there were before. Those that are still the same are not parsed again.
    `may_overlap`: whether two nodes may claim the same addresses.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PeersInvalid([f"{path} is larger than {LARGEST_FILE >> 20} MiB"])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PeersInvalid([f"{path} cannot be read: {error}"]) from None
    return parse(text, str(path), own, known, may_overlap=may_overlap)


def parse(
    text: str,
    place: str,
    own: str,
    known: Mapping[str, cluster.Peer] = NOBODY,
    *,
    may_overlap: bool = False,
) -> cluster.View:
    """As `read`, from a text."""
    document = _document(text, place)
    faults: list[str] = []
    found = _Reader(faults, known).document(document, place)
    if not may_overlap:
        faults += _shared_ranges(found[1], place)
    if own not in found[1] and not faults:
        faults.append(f"{place}: nodes: this node, {own}, is not among them (--node says its name)")
    if faults:
        raise PeersInvalid(faults)
    cluster_range, nodes = found
    return cluster.View(nodes[own], nodes, cluster_range=cluster_range)


def _document(text: str, place: str) -> Json:
    """JSON is YAML, too, but read as such it takes seventy times as long."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise PeersInvalid([f"{place} is neither JSON nor YAML: {error}"]) from None


def entry(peer: cluster.Peer) -> dict[str, Json]:
    """A node as the file has it."""
    return {
        "name": peer.name,
        "vtep": peer.vtep,
        "ranges": list(peer.ranges),
        "master": peer.is_master,
    }


class _Reader:
    """Takes a document apart and notes what is wrong with it."""

    def __init__(self, faults: list[str], known: Mapping[str, cluster.Peer]) -> None:
        self._faults = faults
        self._known = known

    def document(
        self, document: Json, place: str
    ) -> tuple[tuple[str, ...], dict[str, cluster.Peer]]:
        """The cluster's range and its nodes."""
        if not isinstance(document, dict):
            self._faults.append(
                f"{place}: must be an object with nodes, is {options.kind(document)}"
            )
            return (), {}
        self._refuse_unknown(document, ("clusterRange", "nodes"), place)
        ranges = self._value(document, "clusterRange", parse_ranges, place) or ()
        entries = document.get("nodes")
        if not isinstance(entries, list):
            self._faults.append(f"{place}: nodes: must be a list, is {options.kind(entries)}")
            return ranges, {}
        nodes: dict[str, cluster.Peer] = {}
        for index, node in enumerate(entries):
            peer = self._find_known(node) or self._node(node, f"{place}: nodes[{index}]")
            if peer is not None and nodes.setdefault(peer.name, peer) is not peer:
                self._faults.append(f"{place}: nodes[{index}]: {peer.name} is there twice")
        return ranges, nodes

    def _find_known(self, node: Json) -> cluster.Peer | None:
        """The node as it was known, if it is still the same."""
        if not isinstance(node, dict):
            return None
        peer = self._known.get(str(node.get("name")))
        return peer if peer is not None and DEFAULTS | node == entry(peer) else None

    def _node(self, node: Json, place: str) -> cluster.Peer | None:
        if not isinstance(node, dict):
            self._faults.append(f"{place}: must be an object, is {options.kind(node)}")
            return None
        self._refuse_unknown(node, ("name", "vtep", "ranges", "master"), place)
        name = self._value(node, "name", SETTINGS["node"].parse, place, required=True)
        vtep = self._value(node, "vtep", SETTINGS["vtep-ip"].parse, place, required=True)
        ranges = self._value(node, "ranges", parse_ranges, place) or ()
        is_master = self._value(node, "master", options.OPTIONS["isMaster"][1], place) or False
        if name is None or vtep is None:
            return None
        return cluster.Peer(name, vtep, ranges=ranges, is_master=is_master)

    def _value(
        self,
        node: dict[str, Json],
        key: str,
        parse_value: Callable[[Json], Json],
        place: str,
        *,
        required: bool = False,
    ) -> Json:
        if node.get(key) is None:
            if required:
                self._faults.append(f"{place}: {key} is missing")
            return None
        try:
            return parse_value(node[key])
        except options.Wrong as error:
            self._faults.append(f"{place}: {key}: {error}")
            return None

    def _refuse_unknown(self, found: dict[str, Json], known: tuple[str, ...], place: str) -> None:
        for key in found:
            if key not in known:
                self._faults.append(f"{place}: {key!r} is unknown; known are {', '.join(known)}")


def _shared_ranges(nodes: Mapping[str, cluster.Peer], place: str) -> list[str]:
    """Two nodes with an address range in common would give one address to two pods."""
    ranges = sorted([parse_range(cidr) for node in nodes.values() for cidr in node.ranges])
    if not any(map(_overlap, ranges, ranges[1:])):
        return []
    held = sorted(
        (parse_range(cidr), cidr, name) for name, node in nodes.items() for cidr in node.ranges
    )
    return [
        f"{place}: {one_cidr} of node {one} and {other_cidr} of node {other} overlap"
        for (first, one_cidr, one), (second, other_cidr, other) in itertools.pairwise(held)
        if _overlap(first, second)
    ]


def _overlap(first: Range, second: Range) -> bool:
    """Whether a range has something of the one before it, by version and first address."""
    return first[0] == second[0] and second[1] <= first[2]
