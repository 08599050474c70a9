# SPDX-License-Identifier: Apache-2.0
"""The CNI_* variables: what is missing or wrong in them is said at once, with code 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cni import call

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host

CONF = {"cniVersion": "1.1.0", "name": "linen-network", "type": "linen", "ovs": {}}
REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    "GC": ("CNI_PATH",),
}


@pytest.mark.parametrize("command", REQUIRED)
def test_all_missing_variables_are_named_at_once(host: Host, plugin: Path, command: str) -> None:
    """One error with code 4 names every variable that the command lacks."""
    nothing = dict.fromkeys(("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"))

    text = call(host, plugin, command, CONF, netns=None, **nothing).error(4)

    assert [name for name in REQUIRED["ADD"] if name in text] == list(REQUIRED[command])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-bytes-xx"])
def test_bad_interface_name(host: Host, plugin: Path, name: str) -> None:
    """An interface name that Linux would refuse is refused with code 4."""
    assert "CNI_IFNAME" in call(host, plugin, "ADD", CONF, CNI_IFNAME=name).error(4)


@pytest.mark.parametrize("container", ["-pod", ".pod", "a/b", "a b", "pöd", "a\nb"])
def test_bad_container_id(host: Host, plugin: Path, container: str) -> None:
    """A container id outside of the specification's alphabet is refused with code 4."""
    text = call(host, plugin, "ADD", CONF, CNI_CONTAINERID=container).error(4)
    assert "CNI_CONTAINERID" in text


@pytest.mark.parametrize("command", ["add", "UPDATE", "ADD ", "ADD\n"])
def test_unknown_command(host: Host, plugin: Path, command: str) -> None:
    """A command that does not exist is refused with code 4."""
    assert "CNI_COMMAND" in call(host, plugin, command, CONF).error(4)


@pytest.mark.parametrize("command", [None, ""])
def test_no_command_at_all(host: Host, plugin: Path, command: str | None) -> None:
    """A person who runs the program by hand is told what it is, and the versions, on stderr."""
    answer = call(host, plugin, command, "")

    assert (answer.status, answer.stdout) == (0, "")
    assert "linen" in answer.stderr.lower()
    assert "1.1.0" in answer.stderr


def test_arguments_of_the_runtime_are_let_be(host: Host, plugin: Path) -> None:
    """CNI_ARGS and variables that others invent change nothing."""
    extra = {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=x", "TRACEPARENT": "00-1-2-01"}

    assert call(host, plugin, "DEL", CONF, **extra).status == 0


def test_own_namespace_is_refused(host: Host, plugin: Path) -> None:
    """A pod's namespace that is the plugin's own is a mistake: code 8, unless it is meant."""
    answer = call(host, plugin, "ADD", CONF, netns="/proc/self/ns/net")
    assert "/proc/self/ns/net" in answer.error(8)

    meant = call(host, plugin, "ADD", CONF, netns="/proc/self/ns/net", CNI_NETNS_OVERRIDE="1")
    assert meant.json["code"] != 8
