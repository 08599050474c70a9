# SPDX-License-Identifier: Apache-2.0
"""Conflists as files: read as a CNI runtime reads them, with the place of each fault.

Nothing is judged here but whether a file is JSON; `linen.host.checks` looks at what it says.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from linen.cni import options
from linen.host import findings
from linen.host.pod_ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from linen.core.model import OverlayOptions
    from linen.host.findings import Finding
    from linen.host.pod_ranges import PodRange

    Json = Any

CONF_DIR = "/etc/cni/net.d"
CONFLIST_NAME = "linen.conflist"  # ours in that folder
# What containerd and CRI-O read from that folder, the first in alphabetical order winning
# (libcni.ConfFiles).
EXTENSIONS = (".conflist", ".conf", ".json")
LINEN, BRIDGE = "linen", "bridge"
MANAGED_BY, FLAXD = "managedBy", "flaxd"  # a key of what flaxd wrote, which runtimes ignore
# The plugin that attaches a pod to several networks, itself or by asking its daemon, and where it
# finds the conflist of one whose NetworkAttachmentDefinition has none in it.
MULTUS = ("multus", "multus-shim")
SECONDARY_CONF_DIR = "/etc/cni/multus/net.d"


class ConflistUnreadable(Exception):
    """A file is not JSON, or cannot be read. `finding` says why and where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


def is_managed(document: dict[str, Json]) -> bool:
    """Whether flaxd wrote it."""
    return bool(document.get(MANAGED_BY) == FLAXD)


@dataclass(frozen=True)
class Conflist:
    """A file's content. `repeated`: keys that some object in it has twice."""

    path: Path
    document: dict[str, Json]
    repeated: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The network's name, "" where there is none."""
        name = self.document.get("name")
        return name if isinstance(name, str) else ""

    @property
    def version(self) -> str:
        """Its `cniVersion`, "" where there is none."""
        version = self.document.get("cniVersion")
        return version if isinstance(version, str) else ""

    @property
    def entries(self) -> list[tuple[str, dict[str, Json]]]:
        """Place and content of each plugin's entry, also of the one that a `.conf` file is."""
        if "plugins" not in self.document and "type" in self.document:
            return [("", self.document)]
        plugins = self.document.get("plugins")
        listed = plugins if isinstance(plugins, list) else []
        return [
            (f"plugins[{index}]", entry)
            for index, entry in enumerate(listed)
            if isinstance(entry, dict)
        ]

    def of_type(self, plugin: str) -> list[tuple[str, dict[str, Json]]]:
        """The entries of one plugin."""
        return [(place, entry) for place, entry in self.entries if entry.get("type") == plugin]

    def programs(self) -> set[str]:
        """The names of all programs that a runtime executes for this list."""
        named = {entry.get("type") for _, entry in self.entries}
        for _, entry in self.entries:
            ipam = entry.get("ipam")
            if isinstance(ipam, dict):
                named.add(ipam.get("type"))
        return {name for name in named if isinstance(name, str) and name}

    def at(self, place: str) -> str:
        """A place in the file, for people."""
        return f"{self.path}: {place}" if place else str(self.path)


@dataclass(frozen=True)
class Network:
    """A network that Linen serves: what a sound conflist says about it."""

    name: str
    options: OverlayOptions
    conflist: Conflist
    bridge_entry: dict[str, Json]

    @property
    def linux_bridge(self) -> str:
        """The Linux bridge that its pods hang on; cni0 is the bridge plugin's default."""
        name = self.bridge_entry.get("bridge")
        return name if isinstance(name, str) and name else "cni0"

    @property
    def has_gateway(self) -> bool:
        """Whether the node itself has an address in it, and routes for its pods."""
        return bool(self.bridge_entry.get("isGateway") or self.bridge_entry.get("isDefaultGateway"))

    @property
    def pod_ranges(self) -> list[PodRange]:
        """What its pods' addresses are from, without what `host-local` would refuse."""
        return parse_ranges(self.bridge_entry, "")[0]

    @property
    def mtu(self) -> int | None:
        """The MTU that the bridge plugin is asked for, None where it takes the kernel's."""
        mtu = self.bridge_entry.get("mtu")
        return mtu if isinstance(mtu, int) and mtu > 0 else None

    @property
    def where(self) -> str:
        """The network, for people."""
        return f"network {self.name} ({self.conflist.path})"


def conflist_files(folder: Path) -> list[Path]:
    """The files that a runtime reads from its folder, in its order. Raises `OSError`."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(EXTENSIONS))  # noqa: PTH208
    return [path for path in (folder / name for name in names) if path.is_file()]


def read_conflist(path: Path) -> Conflist:
    """Read one file. Raises `ConflistUnreadable`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8: {error.reason}"
        raise ConflistUnreadable(
            findings.error(
                str(path),
                f"the file cannot be read: {reason}",
                cure="it has to be a UTF-8 file that root may read",
            )
        ) from None
    return parse_conflist(text, path)


def parse_conflist(text: str, path: Path) -> Conflist:
    """Parse a file's content. Raises `ConflistUnreadable`."""
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        keys = [key for key, _ in pairs]
        repeated.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return dict(pairs)

    try:
        document = json.loads(
            text, object_pairs_hook=note_repeated, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise ConflistUnreadable(_not_json(path, text, error)) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConflistUnreadable(findings.error(str(path), f"not JSON: {reason}")) from None
    if not isinstance(document, dict):
        raise ConflistUnreadable(
            findings.error(
                str(path),
                f"the file holds {options.kind(document)} instead of an object",
                cure="a conflist is an object with `name`, `cniVersion` and `plugins`",
            )
        )
    return Conflist(path, document, tuple(repeated))


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _not_json(path: Path, text: str, error: json.JSONDecodeError) -> Finding:
    lines = text.splitlines()
    line = lines[error.lineno - 1].strip() if error.lineno <= len(lines) else ""
    cause, cure = _hint(text[: error.pos].rstrip(), text[error.pos :].lstrip())
    return findings.error(
        f"{path}:{error.lineno}:{error.colno}",
        f"not JSON: {error.msg.lower()}" + (f", at `{line[:60]}`" if line else ""),
        cause=cause,
        cure=cure,
    )


def _hint(before: str, after: str) -> tuple[str, str]:
    """Cause and cure of the usual faults, from the text on both sides of the error."""
    if not before and not after:
        return "the file is empty", "write the conflist again; examples/ has three"
    comma_ends_list = before.endswith(",") and after[:1] in ("]", "}")
    if comma_ends_list or (after.startswith(",") and after[1:].lstrip()[:1] in ("]", "}")):
        return "a comma stands before the closing bracket", "remove that comma"
    if after.startswith(("//", "#", "/*")):
        return "JSON has no comments", "remove the comment"
    if not after:
        return "the file ends too early: a bracket is not closed", "close it, or write it again"
    if before[-1:] in ('"', "}", "]") and after[:1] in ('"', "{", "["):
        return "a comma is missing before this", "add it"
    return "", "`python3 -m json.tool FILE` shows the same place"


def networks_of(conflists: Iterable[Conflist]) -> list[Network]:
    """The networks of those conflists in which Linen's options are right."""
    networks = []
    for conflist in conflists:
        bridges = conflist.of_type(BRIDGE)
        for _, entry in conflist.of_type(LINEN)[:1]:
            faults: list[str] = []
            parsed = options.parse(entry, faults, [])
            if conflist.name and not faults:
                networks.append(
                    Network(conflist.name, parsed, conflist, bridges[0][1] if bridges else {})
                )
    return networks
