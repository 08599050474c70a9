# SPDX-License-Identifier: Apache-2.0
"""Checks of the CNI plugins that this node's conflists name: present, working, of one language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.host.cni_versions import ONE, SEVERAL, named_versions
from linen.host.conflists import LINEN
from linen.host.errors import HostError
from linen.host.findings import Check, error
from linen.host.programs import (
    PACKAGE,
    REFERENCE_FOLDERS,
    ask_versions,
    find_reference,
    is_program,
    version_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.host.conflists import Conflist
    from linen.host.findings import Finding
    from linen.host.node import Node


def present(node: Node) -> Iterator[Finding]:
    """Every program that a conflist names is in the runtime's folder."""
    for network in node.networks:
        for name in sorted(network.conflist.programs()):
            path = node.bin_dir / name
            if is_program(path):
                continue
            what = "is not executable" if path.exists() else "is not there"
            yield error(
                str(path),
                f"{what}, and {network.conflist.path.name} names it",
                cause="the runtime executes the plugins of a conflist from this folder",
                cure=_how_to_get(name),
            )


def _how_to_get(name: str) -> str:
    if name == LINEN:
        return "`linenctl install`"
    if find_reference(name):
        return "`linenctl install --conflist FILE` copies it from the distribution's package"
    folders = " or ".join(map(str, REFERENCE_FOLDERS))
    return f"install the package {PACKAGE} ({folders}), then `linenctl install --conflist FILE`"


def speak(node: Node) -> Iterator[Finding]:
    """Every plugin speaks each version of CNI that a runtime may choose from its conflist."""
    for network in node.networks:
        for name in sorted(network.conflist.programs()):
            path = node.bin_dir / name
            if not is_program(path):
                continue
            try:
                spoken = ask_versions(path)
            except HostError as fault:
                yield error(str(path), fault.message, cure=fault.details)
                continue
            yield from _unspoken(network.conflist, path, spoken)


def _unspoken(conflist: Conflist, path: Path, spoken: list[str]) -> Iterator[Finding]:
    newest = max(spoken, key=version_key, default="none")
    lacking = {
        key: [version for version in versions if version not in spoken]
        for key, versions in named_versions(conflist).items()
    }
    cures = [f"set cniVersion to {newest}"] if lacking[ONE] else []
    if lacking[SEVERAL]:
        cures.append(f"take {' and '.join(lacking[SEVERAL])} out of cniVersions")
    if cures:
        told = sorted({*lacking[ONE], *lacking[SEVERAL]}, key=version_key)
        yield error(
            conflist.at(ONE if lacking[ONE] else SEVERAL),
            f"{path.name} does not speak {' and '.join(told)}; its newest is {newest}",
            cause="every plugin of the chain is called with cniVersion, or with the newest of"
            " cniVersions that the runtime knows",
            cure=f"{' and '.join(cures)}, or update {path}",
        )


CHECKS: tuple[Check[Node], ...] = (
    Check("programs", "every plugin that a conflist names is there", present),
    Check("cni-version", "every plugin speaks its conflist's versions", speak),
)
