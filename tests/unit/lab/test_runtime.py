# SPDX-License-Identifier: Apache-2.0
"""What the lab's CNI runtime gives a plugin to read, and what it remembers, as libcni does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.lab.cache import (
    RESULTS,
    Attachment,
    container_id_of,
    parse_attachment,
    read_attachments,
    render_attachment,
)
from linen.lab.errors import LabError
from linen.lab.runtime import build_config, version_of

if TYPE_CHECKING:
    from pathlib import Path

CONFLIST = {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "a"}]}


def test_name_and_version_are_injected() -> None:
    """Each plugin gets the network's name and version beside its own keys."""
    config = build_config(CONFLIST, {"type": "a", "x": 1}, None, {})

    assert config == {"type": "a", "x": 1, "name": "net", "cniVersion": "1.0.0"}


def test_result_is_handed_on() -> None:
    """The result before it reaches a plugin as prevResult."""
    assert build_config(CONFLIST, {"type": "a"}, {"ips": []}, {})["prevResult"] == {"ips": []}


def test_capability_arguments_replace_runtime_config() -> None:
    """Arguments for a declared capability replace the whole runtimeConfig of a plugin."""
    plugin = {"type": "a", "capabilities": {"ports": True}, "runtimeConfig": {"old": 1}}

    assert build_config(CONFLIST, plugin, None, {"ports": [1]})["runtimeConfig"] == {"ports": [1]}


@pytest.mark.parametrize("capabilities", [{}, {"ports": False}, {"bandwidth": True}])
def test_undeclared_capability(capabilities: dict[str, bool]) -> None:
    """A plugin that does not declare a capability keeps the runtimeConfig that it has."""
    plugin = {"type": "a", "capabilities": capabilities, "runtimeConfig": {"ovs": {}}}

    assert build_config(CONFLIST, plugin, None, {"ports": [1]})["runtimeConfig"] == {"ovs": {}}


@pytest.mark.parametrize(
    ("version", "numbers"), [("1.1.0", (1, 1, 0)), ("", (0, 1, 0)), (None, (0, 1, 0))]
)
def test_version(version: str | None, numbers: tuple[int, ...]) -> None:
    """A conflist without a version is one of 0.1.0."""
    assert version_of({"cniVersion": version}) == numbers


def test_container_id_is_that_of_cnitool() -> None:
    """The container id of a namespace's path is the one that cnitool derives from it."""
    # printed by: cnitool add ... /var/run/netns/pod1, in its cache file's name
    assert container_id_of("/var/run/netns/pod1") == "cnitool-bea13e247008fe5f4a37"


def test_attachment_survives_the_cache() -> None:
    """What is written to the cache is read back unchanged."""
    attachment = Attachment(
        network="net",
        container_id="id",
        ifname="eth0",
        netns="/run/netns/a",
        conflist=CONFLIST,
        result={"ips": [{"address": "10.0.0.2/24"}]},
        capability_args={"ports": [1]},
    )

    assert parse_attachment(render_attachment(attachment)) == attachment


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_broken_cache(tmp_path: Path, content: str) -> None:
    """A file of the cache that is none of a runtime's is named."""
    path = tmp_path / RESULTS / "net-id-eth0"
    path.parent.mkdir(parents=True)
    path.write_text(content)

    with pytest.raises(LabError, match=f"{path}: no result"):
        read_attachments(tmp_path)


@pytest.mark.parametrize(
    "result",
    [
        {"ips": [{"address": "10.0.0.2/24"}, {"address": "fd00::2/64"}]},
        {"ip4": {"ip": "10.0.0.2/24"}, "ip6": {"ip": "fd00::2/64"}},
    ],
)
def test_addresses_of_any_version(result: dict[str, object]) -> None:
    """Addresses are found in the results of all versions, those before 0.3.0 included."""
    attachment = Attachment("net", "id", "eth0", "", CONFLIST, dict(result), {})

    assert attachment.addresses() == ["10.0.0.2/24", "fd00::2/64"]
