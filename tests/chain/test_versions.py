# SPDX-License-Identifier: Apache-2.0
"""VERSION, and what happens under versions that do not know a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cni import call
from support.conflists import VERSIONS

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host

NAMED = list(VERSIONS[1:])


@pytest.mark.parametrize("version", NAMED)
def test_version_answers_in_the_version_asked(host: Host, plugin: Path, version: str) -> None:
    """VERSION gives back the version of its input, and all that we support."""
    result = call(host, plugin, "VERSION", {"cniVersion": version}).result()
    assert result == {"cniVersion": version, "supportedVersions": NAMED}


@pytest.mark.parametrize("stdin", ["", "{}", "not JSON"])
def test_version_needs_no_input(host: Host, plugin: Path, stdin: str) -> None:
    """VERSION answers without a configuration, and without any other variable."""
    alone = dict.fromkeys(("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"))

    result = call(host, plugin, "VERSION", stdin, netns=None, **alone).result()

    assert result["supportedVersions"] == NAMED
    assert result["cniVersion"] in NAMED


def test_version_with_standard_input_closed(host: Host, plugin: Path) -> None:
    """VERSION answers even where standard input is not open at all."""
    done = host.run("sh", "-c", f"exec {plugin} <&-", env={"CNI_COMMAND": "VERSION"})
    assert "supportedVersions" in done.stdout


@pytest.mark.parametrize("version", ["0.9.0", "1.2.0", "2.0.0", "banana", "1.1.0 ", "1.1"])
def test_unknown_version(host: Host, plugin: Path, version: str) -> None:
    """A version that we do not know is refused with code 1, naming it and those that we do."""
    conf = {"cniVersion": version, "name": "n", "type": "linen", "ovs": {}}

    text = call(host, plugin, "ADD", conf).error(1)

    assert version in text
    assert "1.1.0" in text


@pytest.mark.parametrize(
    ("command", "too_old"),
    [("CHECK", ("", "0.1.0", "0.3.1")), ("GC", ("0.4.0", "1.0.0")), ("STATUS", ("0.3.1", "1.0.0"))],
)
def test_command_is_younger_than_the_version(
    host: Host, plugin: Path, command: str, too_old: tuple[str, ...]
) -> None:
    """CHECK, GC and STATUS under a version that lacks them are refused with code 1."""
    for version in too_old:
        conf = {"cniVersion": version, "name": "n", "type": "linen", "ovs": {}}
        assert command in call(host, plugin, command, conf).error(1)
