# SPDX-License-Identifier: Apache-2.0
"""The versions of CNI that a conflist names, held against those that its plugins speak.

A runtime calls all plugins of a chain with one of them: the newest that it knows itself, of
`cniVersion` and `cniVersions` (NetworkConfFromBytes in libcni/conf.go). One that does not know
`cniVersions`, as containerd before 2.0, takes `cniVersion`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.host.conflists import Conflist
from linen.host.errors import HostError
from linen.host.programs import ask_versions, version_key

if TYPE_CHECKING:
    from pathlib import Path

ONE, SEVERAL = "cniVersion", "cniVersions"


def named_versions(conflist: Conflist) -> dict[str, list[str]]:
    """The versions that a runtime may choose, by the key that names them."""
    several = conflist.document.get(SEVERAL)
    listed = several if isinstance(several, list) else []
    return {
        ONE: [conflist.version] if conflist.version else [],
        SEVERAL: [one for one in listed if isinstance(one, str) and one],
    }


def fit_versions(conflist: Conflist, sources: dict[str, Path]) -> tuple[Conflist, list[str]]:
    """The conflist with those versions alone that all of its plugins speak, and what that changed.

    An older one takes the place of its `cniVersion`. Raises `HostError` where there is none.
    """
    several = named_versions(conflist)[SEVERAL]
    if not (conflist.version or several):
        return conflist, []
    spoken = {f"{name} ({path})": ask_versions(path) for name, path in sorted(sources.items())}

    def mute(version: str) -> str:
        return ", ".join(told for told, versions in spoken.items() if version not in versions)

    common = set.intersection(*map(set, spoken.values()))
    kept = [one for one in several if one in common]
    document = conflist.document | {SEVERAL: kept}
    remarks = [
        f"cniVersions loses {one}: it is not spoken by {mute(one)}"
        for one in several
        if one not in common
    ]
    if conflist.version not in common and (conflist.version or not kept):
        wanted = conflist.version or max(several, key=version_key)
        version = document[ONE] = _older(wanted, common, mute(wanted))
        why = f"{wanted} is not spoken by {mute(wanted)}"
        remarks.insert(0, f"cniVersion {wanted} becomes {version}: {why}")
    if not remarks:
        return conflist, []
    if set(kept) <= {document.get(ONE)}:
        del document[SEVERAL]
    return Conflist(conflist.path, document), remarks


def _older(wanted: str, common: set[str], mute: str) -> str:
    older = [one for one in common if version_key(one) < version_key(wanted)]
    if not older:
        raise HostError(
            f"cniVersion {wanted} is not spoken by {mute}, nor is an older one by all plugins",
            "update that plugin, or write the conflist in another version",
        )
    return max(older, key=version_key)
