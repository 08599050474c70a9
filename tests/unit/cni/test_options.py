# SPDX-License-Identifier: Apache-2.0
"""The `ovs` block: every form that is accepted, and what is said about the others."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.cni import config, options
from linen.core import errors, model


def parsed(block: Any, place: str = "ovs") -> tuple[model.OverlayOptions, list[str], list[str]]:
    """The options, faults and warnings of a configuration with this block."""
    faults: list[str] = []
    warnings: list[str] = []
    conf = {"runtimeConfig": {"ovs": block}} if place == "runtimeConfig.ovs" else {place: block}
    return options.parse(conf, faults, warnings), faults, warnings


def faults_of(block: Any) -> list[str]:
    """What is said about a wrong block."""
    return parsed(block)[1]


def test_defaults() -> None:
    """Without any option there is an OVS bridge br0 without tunnels, as in the original."""
    expected = model.OverlayOptions(
        is_master=False, ovs_bridge="br0", ovsdb="/var/run/openvswitch/db.sock"
    )

    assert (expected, [], []) == parsed({})
    assert (expected, [], []) == parsed(None)


def test_all_options() -> None:
    """Each option of the documentation reaches its place."""
    block = {
        "isMaster": True,
        "ovsBridge": "br7",
        "vtepIPs": ["10.245.2.2", "FD00::2", "10.245.2.2"],
        "controller": ["192.168.2.100:6653", "ssl:[fd00::1]:6654", "tcp:controller.local"],
        "vni": 7,
        "dstPort": 8472,
        "datapathType": "netdev",
        "stp": "rstp",
        "topology": "star",
        "tunnelOptions": {"csum": True, "tos": "inherit", "ttl": 64},
        "ovsdb": "unix:/run/ovs/db.sock",
    }

    expected = model.OverlayOptions(
        is_master=True,
        ovs_bridge="br7",
        vteps=["10.245.2.2", "fd00::2"],
        controllers=["tcp:192.168.2.100:6653", "ssl:[fd00::1]:6654", "tcp:controller.local:6653"],
        vni=7,
        dst_port=8472,
        datapath_type="netdev",
        stp="rstp",
        topology="star",
        tunnel_options={"csum": "true", "tos": "inherit", "ttl": "64"},
        ovsdb="/run/ovs/db.sock",
    )
    assert (expected, [], []) == parsed(block)


def test_original_place() -> None:
    """The block under runtimeConfig works, and the warning says where it belongs."""
    found, faults, (warning,) = parsed({"ovsBridge": "br3"}, "runtimeConfig.ovs")

    assert found.ovs_bridge == "br3"
    assert faults == []
    assert "move them to `ovs`" in warning


def test_top_level_wins() -> None:
    """With both places the top level counts, and a difference is reported."""
    conf = {"ovs": {"ovsBridge": "br1"}, "runtimeConfig": {"ovs": {"ovsBridge": "br2"}}}
    warnings: list[str] = []

    found = options.parse(conf, [], warnings)

    assert found.ovs_bridge == "br1"
    assert any("differs" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("vtepips", "vtepIPs"),
        ("vtepIps", "vtepIPs"),
        ("controler", "controller"),
        ("VNI", "vni"),
        ("bridge", "ovsBridge"),
        ("dstport", "dstPort"),
    ],
)
def test_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    """A misspelt option is an error that names the one that was meant."""
    assert faults_of({key: 1}) == [f"ovs.{key}: unknown option; did you mean {nearest}?"]


def test_unknown_key_far_from_all() -> None:
    """An option that resembles none gets the list of all."""
    (fault,) = faults_of({"x" * 30: 1})

    assert "known are isMaster, ovsBridge, vtepIPs" in fault


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("isMaster", "yes", "must be true or false, is 'yes'"),
        ("isMaster", 1, "must be true or false, is 1"),
        ("ovsBridge", "a" * 16, "must have 1 to 15 bytes"),
        ("ovsBridge", "a/b", "no slash"),
        ("ovsBridge", 5, "must be a string, is 5"),
        ("vtepIPs", "10.0.0.1", "must be a list of IP addresses, is '10.0.0.1'"),
        ("vtepIPs", ["10.0.0.1", "node2", 7], "[1] 'node2' is not an IPv4 or IPv6 address; [2] 7"),
        ("vtepIPs", ["224.0.0.1"], "is a multicast or broadcast address"),
        ("controller", "192.168.2.100:0", "must be HOST:PORT"),
        ("controller", "192.168.2.100:65536", "must be HOST:PORT"),
        ("controller", "http://x", "must be HOST:PORT"),
        ("controller", "tcp:fd00::1:6653", "IPv6 address in [brackets]"),
        ("controller", {"host": "x"}, "must be a string, is an object"),
        ("vni", 0, "must be a whole number from 1 to 16777215, is 0"),
        ("vni", True, "is true"),
        ("vni", 1.5, "is 1.5"),
        ("dstPort", 65536, "from 1 to 65535"),
        ("datapathType", "kernel", "must be one of system, netdev, is 'kernel'"),
        ("stp", True, "must be one of off, stp, rstp, is true"),
        ("topology", "ring", "must be one of star, mesh, flow, is 'ring'"),
        ("tunnelOptions", {"key": "5"}, "key is set by ovs.vni"),
        ("tunnelOptions", {"csum": []}, "csum must be a text, a number, true or false"),
        ("tunnelOptions", [], "must be an object of OVS tunnel options, is a list"),
        ("ovsdb", "tcp:127.0.0.1:6640", "must be unix:/PATH"),
        ("ovsdb", "unix:db.sock", "must be unix:/PATH"),
        ("ovsdb", "unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_wrong_values(key: str, value: Any, text: str) -> None:
    """A wrong value's error says where it is, what it is and what would be right."""
    (fault,) = faults_of({key: value})

    assert fault.startswith(f"ovs.{key}: ")
    assert text in fault


def test_mesh_with_spanning_tree() -> None:
    """A mesh and a spanning tree exclude each other."""
    (fault,) = faults_of({"topology": "mesh", "stp": "rstp"})

    assert "exclude each other" in fault


@pytest.mark.parametrize(
    ("other", "remedy"),
    [
        ({"vtepIPs": ["10.245.2.2"]}, "topology be mesh"),
        ({"controller": "10.0.0.1"}, "topology be star"),
        ({"stp": "rstp"}, "leave out stp"),
    ],
)
def test_what_flow_excludes(other: dict[str, Any], remedy: str) -> None:
    """Flow needs the daemon and owns the rules; what contradicts that is told with a way out."""
    (fault,) = faults_of({"topology": "flow", **other})

    assert fault.startswith(f"ovs: topology flow and {next(iter(other))}")
    assert remedy in fault


def test_all_errors_in_one_answer() -> None:
    """Everything that is wrong with a configuration is in one error."""
    conf = {"name": "", "ovs": {"vni": -1, "stp": "on", "vteps": []}, "prevResult": []}

    with pytest.raises(errors.ConfigInvalid) as caught:
        config.parse(conf)

    for part in ("name:", "ovs.vni:", "ovs.stp:", "ovs.vteps:", "prevResult:"):
        assert part in caught.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
known = st.sampled_from([*options.OPTIONS, "name", "ovs", "prevResult", "runtimeConfig"])


@given(st.dictionaries(known, json_values), json_values)
def test_any_configuration(conf: dict[str, Any], block: Any) -> None:
    """Whatever JSON a configuration consists of, it is parsed or refused as a whole."""
    for candidate in (conf, {"name": "n", "ovs": conf}, {"name": "n", "ovs": block}):
        with contextlib.suppress(errors.ConfigInvalid):
            assert config.parse(candidate).name == candidate["name"]
