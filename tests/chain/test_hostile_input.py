# SPDX-License-Identifier: Apache-2.0
"""Whatever arrives on standard input: one error object on stdout, no traceback, no hang."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cni import call

if TYPE_CHECKING:
    from pathlib import Path

    from chain.conftest import Attached
    from support.cni import Answer
    from support.host import Host

MEGABYTE = 1 << 20

WRONG_TYPES: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    10**400,
    "",
    "\0",
    "\ud800",
    [],
    {},
    [[]],
    [{}],
    {"": 0},
]
HOSTILE_NAMES = [
    "../../etc/passwd",
    "a/b",
    "br0; rm -rf /",
    "$(id)",
    "-",
    "--help",
    "\0",
    "x" * 16,
    "x" * 100_000,
    "ü" * 9,
    "\x1b[2J",
    "all",
    "default",
]


def assert_well_formed(answer: Answer) -> None:
    """A success, or one error object and a status other than 0; never the inside of the plugin."""
    answer.assert_no_traceback()
    assert answer.status in {0, 1}, answer
    if answer.status:
        answer.error(answer.json["code"])
        assert answer.json["code"] != 999, answer


NOT_JSON = {
    "empty": b"",
    "white space": b" \n\t",
    "NUL": b"\0",
    "NULs": b"\0" * MEGABYTE,
    "half": b'{"cniVersion": "1.1.0", "name": "n"',
    "two": b"{} {}",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "n"}'.encode("utf-16"),
    "not a number": b'{"name": NaN}',
    "list": b"[]",
    "string": b'"ADD"',
    "deep list": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "random bytes": bytes(range(256)) * 64,
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON.keys())
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_not_a_configuration(host: Host, plugin: Path, command: str, data: bytes) -> None:
    """What is no JSON object is refused with code 6, whatever the command."""
    call(host, plugin, command, data).error(6)


def test_deep_value_in_a_good_configuration(attached: Attached) -> None:
    """Deep nesting where nobody looks is refused or passed on, but never fatal."""
    deep = json.dumps(attached.conf())[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    answer = call(attached.host, attached.plugin, "ADD", deep)
    assert_well_formed(answer)


@pytest.mark.parametrize("filler", [b" ", b"[", b"\0", b'"'])
def test_hundred_megabytes(host: Host, plugin: Path, filler: bytes) -> None:
    """Input far beyond any configuration is refused with code 5 before it fills the memory."""
    call(host, plugin, "ADD", filler * (100 * MEGABYTE)).error(5)


def test_standard_input_is_closed(host: Host, plugin: Path) -> None:
    """Without a standard input there is an error as any other."""
    variables = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "pod-1",
        "CNI_NETNS": "/run/netns/pod",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/nowhere",
    }
    done = host.run("sh", "-c", f"exec {plugin} <&-", env=variables, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] in {5, 6}


def test_standard_input_cannot_be_read(host: Host, plugin: Path) -> None:
    """Standard input whose reading fails is code 5."""
    variables = {"CNI_COMMAND": "STATUS", "CNI_PATH": "/nowhere"}
    done = host.run("sh", "-c", f"exec {plugin} 0>/dev/null", env=variables, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == 5


TOP_LEVEL = ("cniVersion", "name", "type", "ovs", "prevResult", "runtimeConfig", "ipam", "dns")
OPTIONS = (
    "isMaster", "ovsBridge", "vtepIPs", "controller", "vni", "dstPort", "datapathType", "stp",
    "topology", "tunnelOptions", "ovsdb",
)  # fmt: skip


@pytest.mark.parametrize("key", TOP_LEVEL)
def test_wrong_types_at_the_top(attached: Attached, key: str) -> None:
    """A value of any other type under any key gets a well-formed answer."""
    for value in WRONG_TYPES:
        assert_well_formed(attached.call("ADD", attached.conf(**{key: value})))


@pytest.mark.parametrize("key", OPTIONS)
def test_wrong_types_of_options(attached: Attached, key: str) -> None:
    """An option of any other type gets a well-formed answer, and so does each item of a list."""
    for value in [*WRONG_TYPES, *([wrong] for wrong in WRONG_TYPES)]:
        assert_well_formed(attached.call("ADD", attached.with_options(**{key: value})))


@pytest.mark.parametrize("key", ["interfaces", "ips", "routes", "dns", "cniVersion"])
def test_wrong_types_in_the_result(attached: Attached, key: str) -> None:
    """A result of a broken plugin before us gets a well-formed answer."""
    for value in [*WRONG_TYPES, *([wrong] for wrong in WRONG_TYPES)]:
        broken = {**attached.prev_result, key: value}
        for command in ("ADD", "CHECK", "DEL"):
            assert_well_formed(attached.call(command, attached.conf(prevResult=broken)))


@pytest.mark.parametrize("key", ["name", "mac", "sandbox", "mtu"])
def test_wrong_types_in_an_interface(attached: Attached, key: str) -> None:
    """An interface of the result that is not as it should be gets a well-formed answer."""
    first, *others = attached.prev_result["interfaces"]
    for value in [*WRONG_TYPES, *HOSTILE_NAMES]:
        broken = {**attached.prev_result, "interfaces": [{**first, key: value}, *others]}
        assert_well_formed(attached.call("ADD", attached.conf(prevResult=broken)))


@pytest.mark.parametrize("key", ["ovsBridge", "controller", "ovsdb", "datapathType", "topology"])
def test_hostile_names_of_options(attached: Attached, key: str) -> None:
    """A name that is made to hurt gets a well-formed answer, and stays out of the file system."""
    for value in HOSTILE_NAMES:
        assert_well_formed(attached.call("ADD", attached.with_options(**{key: value})))


def test_hostile_names_of_peers_and_networks(attached: Attached) -> None:
    """Hostile addresses and network names get a well-formed answer."""
    for value in HOSTILE_NAMES:
        assert_well_formed(attached.call("ADD", attached.with_options(vtepIPs=[value])))
        assert_well_formed(attached.call("ADD", attached.conf(name=value)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
configurations = st.fixed_dictionaries(
    {},
    optional={
        "cniVersion": st.sampled_from(["1.1.0", "0.2.0"]) | json_values,
        "name": st.just("net") | json_values,
        "type": json_values,
        "prevResult": json_values,
        "runtimeConfig": json_values | st.fixed_dictionaries({"ovs": json_values}),
        "ovs": json_values
        | st.fixed_dictionaries({}, optional=dict.fromkeys(OPTIONS, json_values)),
        "cni.dev/valid-attachments": json_values,
    },
)


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(command=st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS"]), conf=configurations)
def test_any_json(host: Host, plugin: Path, command: str, conf: dict[str, Any]) -> None:
    """Any JSON object gets a well-formed answer to any command."""
    assert_well_formed(call(host, plugin, command, json.dumps(conf)))
