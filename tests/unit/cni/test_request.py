# SPDX-License-Identifier: Apache-2.0
"""The CNI_* environment."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.cni import request
from linen.core import errors

COMPLETE = {
    b"CNI_COMMAND": b"ADD",
    b"CNI_CONTAINERID": b"pod-1",
    b"CNI_NETNS": b"/run/netns/pod",
    b"CNI_IFNAME": b"eth0",
    b"CNI_PATH": b"/opt/cni/bin",
}


def test_complete_environment() -> None:
    """With all variables there is a request."""
    found = request.Request(COMPLETE)

    assert (found.command, found.netns, found.ifname) == ("ADD", "/run/netns/pod", "eth0")


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ],
)
def test_names_all_missing_variables(command: str, missing: str) -> None:
    """One error names every variable that the command requires and that is missing."""
    with pytest.raises(errors.EnvironmentInvalid) as caught:
        request.Request({b"CNI_COMMAND": command.encode()})

    assert caught.value.message == f"required environment variables are missing: {missing}"


def test_missing_and_malformed_at_once() -> None:
    """What is missing and what is malformed is said in one error."""
    environment = COMPLETE | {b"CNI_PATH": b"", b"CNI_CONTAINERID": b"-x", b"CNI_IFNAME": b"a/b"}

    with pytest.raises(errors.EnvironmentInvalid) as caught:
        request.Request(environment)

    for name in ("CNI_PATH", "CNI_CONTAINERID", "CNI_IFNAME"):
        assert name in caught.value.message


@pytest.mark.parametrize("name", ["", ".", "..", "a" * 16, "a b", "a/b", "a:b", "a\n", "ä" * 8])
def test_bad_interface_names(name: str) -> None:
    """A name that Linux or CNI refuses is found to be faulty."""
    assert request.interface_name_fault(name)


@given(st.dictionaries(st.sampled_from(sorted(COMPLETE)), st.binary(max_size=30)))
def test_any_environment(environment: dict[bytes, bytes]) -> None:
    """Whatever bytes the variables hold, there is a request or an EnvironmentInvalid."""
    with contextlib.suppress(errors.EnvironmentInvalid):
        assert request.Request(environment).command in request.COMMANDS
