# SPDX-License-Identifier: Apache-2.0
"""The versions of the CNI specification that the plugin speaks, and what each command needs."""

from __future__ import annotations

from linen.core import errors

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = SUPPORTED[-1]

# A configuration without a version is one of 0.1.0 (SPEC.md of 0.2.0, "Network Configuration").
UNVERSIONED = "0.1.0"

# The version that brought each command. An older configuration cannot ask for it.
FIRST_WITH = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def refuse_unsupported(version: str, command: str) -> None:
    """Raises `VersionUnsupported` where a configuration of `version` cannot have `command`."""
    if version not in SUPPORTED:
        raise errors.VersionUnsupported(
            f"cniVersion {version!r} is not supported",
            f"supported are {', '.join(SUPPORTED)}, and none at all, which means {UNVERSIONED}",
        )
    first = FIRST_WITH.get(command)
    if first is not None and SUPPORTED.index(version) < SUPPORTED.index(first):
        raise errors.VersionUnsupported(
            f"{command} does not exist in cniVersion {version}", f"it does from {first} on"
        )
