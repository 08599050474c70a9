# SPDX-License-Identifier: Apache-2.0
"""Check of Multus' own file in a runtime's folder, which may have a copy of our conflist in it.

When its pod starts Multus' thin plugin copies the first other file of the folder, whole, into
`delegates` of its own (createMultusConfig, cmd/thin_entrypoint/main.go, 4.3.0). It follows changes
only with --cleanup-config-on-exit, which its manifest does not have. Its thick plugin, and whoever
writes `clusterNetwork`, names the network instead, and then Multus reads no delegates (LoadNetConf,
pkg/types/conf.go).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from linen.cni import options
from linen.host.conflists import LINEN, Conflist
from linen.host.findings import error, warning
from linen.host.programs import version_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.checks.folder import Folder
    from linen.host.findings import Finding

THIN = "multus"  # the plugin that reads delegates
# Multus' file as it calls it itself: before CNI 1.0.0, and since.
OLD_FILE, FILE = "00-multus.conf", "00-multus.conflist"
COPIED = {".conf", ".conflist"}  # what it looks for (getMasterConfigPath)
RESTART = "`kubectl -n kube-system rollout restart daemonset/kube-multus-ds`"

DEPTH = 8  # levels of a conflist at which differences are named; ours have fewer
NAMED = 3  # differences that a finding names
ABSENT = object()


def stale_copy(folder: Folder) -> Iterator[Finding]:
    """What Multus gives pods is what our conflist says."""
    for at, listed in _delegates(folder):
        if not listed or not isinstance(listed, list):
            yield _malformed(folder, at, "a list of at least one conflist", listed)
            continue
        for index, value in enumerate(listed):
            yield from _judge(folder, f"{at}[{index}]", value)


def has_copy(folder: Folder) -> bool:
    """Whether Multus has a copy of a conflist that names linen: then pods do without ours."""
    lists = [listed for _, listed in _delegates(folder) if isinstance(listed, list)]
    values = [value for listed in lists for value in listed if isinstance(value, dict)]
    return any(Conflist(folder.path, value).of_type(LINEN) for value in values)


def _delegates(folder: Folder) -> Iterator[tuple[str, object]]:
    """Place and value of `delegates` in the file that a runtime takes, where that is Multus'."""
    for first in folder.conflists[:1]:
        for place, entry in first.entries:
            is_read = entry.get("type") == THIN and not entry.get("clusterNetwork")
            if is_read:
                yield first.at(f"{place}.delegates".removeprefix(".")), entry.get("delegates")


def _malformed(folder: Folder, at: str, wanted: str, value: object) -> Finding:
    found = "an empty list" if value == [] else options.kind(value)
    is_own = folder.conflists[0].path.name in {OLD_FILE, FILE}
    anew = f"remove the file and have Multus write it anew: {RESTART}"
    return error(
        at,
        f"must be {wanted}, is {found}",
        cause="Multus cannot read it, so no pod starts",
        cure=anew if is_own else "correct it, or the file that Multus was told to copy",
    )


def _judge(folder: Folder, at: str, value: object) -> Iterator[Finding]:
    """What is wrong with one of the delegates."""
    if not isinstance(value, dict):
        yield _malformed(folder, at, "a conflist", value)
        return
    copy = Conflist(folder.conflists[0].path, value)
    namesakes = [one for one in folder.ours if one.name == copy.name]
    if any(one.document == value for one in namesakes):
        return
    cause = "Multus copied it when its pod started on this node, and pods get the copy"
    if namesakes:
        ours = namesakes[0]
        what = f"its copy of network {copy.name} is not as ours: {_differences(copy, ours)}"
        yield warning(at, what, cause=cause, cure=_cure(folder, ours))
    elif copy.of_type(LINEN):
        name = copy.name or "without a name"
        what = f"it has a copy of network {name}, which no conflist here defines"
        cure = "put its conflist back; where Linen is to go, delete Multus first, and this file"
        cure = _cure(folder, folder.ours[0]) if folder.ours else cure
        yield warning(at, what, cause=cause, cure=cure)


def _cure(folder: Folder, ours: Conflist) -> str:
    """How Multus' file gets a copy of ours as it is now."""
    file = folder.conflists[0].path.name
    if file not in {OLD_FILE, FILE}:
        return f"Multus makes no file of this name, so correct it by hand after {ours.path}"
    made = FILE if version_key(ours.version) >= version_key("1.0.0") else OLD_FILE
    others = (path for path in folder.files if not path.name.startswith(OLD_FILE))
    source = next((path for path in others if path.suffix in COPIED), ours.path)
    cure = f"restart Multus: {RESTART}"
    if source != ours.path:
        first = f"have {ours.path.name} come before {source.name}, which Multus would copy"
        cure = f"{first}; then {cure}"
    return cure if file == made else f"{cure}, which writes {made}; then remove {file}"


def _differences(copy: Conflist, ours: Conflist) -> str:
    """In which places two conflists differ, for people."""
    found = _differing("", copy.document, ours.document, DEPTH)
    file = ours.path.name
    named = [f"{place} {_values(old, new, file)}" for place, old, new in islice(found, NAMED)]
    more = sum(1 for _ in found)
    rest = [f"and {more} more difference{'s' if more > 1 else ''}"] if more else []
    return "; ".join(named + rest)


def _differing(
    place: str, copy: object, ours: object, depth: int
) -> Iterator[tuple[str, object, object]]:
    """Place and both values of each difference, as deep inside as it can be named."""
    if depth and isinstance(copy, dict) and isinstance(ours, dict):
        for key in sorted(copy.keys() | ours.keys()):
            inner = f"{place}.{key}".removeprefix(".")
            yield from _differing(inner, copy.get(key, ABSENT), ours.get(key, ABSENT), depth - 1)
    elif depth and isinstance(copy, list) and isinstance(ours, list) and len(copy) == len(ours):
        for index, values in enumerate(zip(copy, ours, strict=True)):
            yield from _differing(f"{place}[{index}]", *values, depth - 1)
    elif copy != ours:
        yield place, copy, ours


def _values(copy: object, ours: object, file: str) -> str:
    if isinstance(copy, list) and isinstance(ours, list) and len(copy) != len(ours):
        entries = "entry" if len(copy) == 1 else "entries"
        return f"has {len(copy)} {entries}, and {len(ours)} in {file}"
    return f"is {_kind(copy)}, and {_kind(ours)} in {file}"


def _kind(value: object) -> str:
    return "absent" if value is ABSENT else options.kind(value)
