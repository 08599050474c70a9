# SPDX-License-Identifier: Apache-2.0
"""What the plugin answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from linen.cni import result, versions
from linen.core import errors


def test_result_is_passed_on_with_unknown_fields() -> None:
    """The result of the plugin before us comes out as it came in."""
    prev_result = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "kbr0", "mtu": 1400, "socketPath": "/x"}],
        "ips": [{"address": "10.244.1.10/16"}],
        "x-future": {"kept": [1, 2.5, None]},
    }

    assert prev_result == json.loads(result.passed_on(prev_result, "1.1.0"))


@pytest.mark.parametrize(
    ("interfaces", "names"),
    [
        (None, []),
        ([], []),
        (
            [{"name": "veth1"}, {"name": "kbr0"}, {"name": "eth0", "sandbox": "/x"}],
            ["veth1", "kbr0"],
        ),
    ],
)
def test_host_interfaces(interfaces: Any, names: list[str]) -> None:
    """Every interface outside of the pod may be the Linux bridge, in any place of the list."""
    assert names == result.host_interfaces({"interfaces": interfaces})


@pytest.mark.parametrize("interfaces", [{}, "kbr0", ["kbr0"], [None], [{"name": 1}], [{}]])
def test_malformed_interfaces(interfaces: Any) -> None:
    """A result that has no list of named interfaces is a configuration error."""
    with pytest.raises(errors.ConfigInvalid, match=r"prevResult\.interfaces"):
        result.host_interfaces({"interfaces": interfaces})


def test_error_object() -> None:
    """An error has CNI's four fields."""
    error = errors.Unavailable("no OVSDB", "start it")

    expected = {"cniVersion": "1.0.0", "code": 11, "msg": "no OVSDB", "details": "start it"}
    assert expected == json.loads(result.failure(error, "1.0.0"))


@pytest.mark.parametrize(
    ("version", "command"),
    [("0.3.1", "CHECK"), ("1.0.0", "GC"), ("1.0.0", "STATUS"), ("2.0.0", "ADD"), ("x", "DEL")],
)
def test_version_without_the_command(version: str, command: str) -> None:
    """A command that a configuration's version does not have is error 1."""
    with pytest.raises(errors.VersionUnsupported):
        versions.refuse_unsupported(version, command)


@pytest.mark.parametrize("version", versions.SUPPORTED)
def test_supported_versions(version: str) -> None:
    """Every supported version has ADD and DEL."""
    versions.refuse_unsupported(version, "ADD")
    versions.refuse_unsupported(version, "DEL")
