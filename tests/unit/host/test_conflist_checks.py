# SPDX-License-Identifier: Apache-2.0
"""Checks of one conflist: each finds its fault and its place, and is silent about the examples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linen.host.diagnosis import diagnose_file
from support.cni import plugin_entry
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from linen.host.findings import Finding

Json = dict[str, Any]


def conflist() -> Json:
    """The master's example, to be broken."""
    document = json.loads((EXAMPLES / "master.linen.conflist").read_text())
    assert isinstance(document, dict)
    return document


def bridge(document: Json) -> Json:
    return plugin_entry(document, "bridge")


def linen(document: Json) -> Json:
    return plugin_entry(document, "linen")


def faults(path: Path) -> list[Finding]:
    return [finding for finding in diagnose_file(path) if finding.severity != "ok"]


def only_fault(path: Path) -> Finding:
    """The one finding; a fault must not be reported twice, nor drag others along."""
    (finding,) = faults(path)
    return finding


@pytest.mark.parametrize("name", ["master", "minion1", "minion2"])
def test_examples_are_right(name: str) -> None:
    """The shipped examples have no finding at all."""
    assert faults(EXAMPLES / f"{name}.linen.conflist") == []


@pytest.mark.parametrize(
    ("ours", "ovs"), [({}, {"topology": "flow", "vni": 7}), ({"managedBy": "flaxd"}, {})]
)
def test_list_without_nodes(tmp_path: Path, ours: Json, ovs: Json) -> None:
    """Where rules or flaxd choose among nodes there is nothing to be said about it."""
    document = conflist() | ours
    linen(document)["ovs"] = ovs
    path = tmp_path / "listless.conflist"
    path.write_text(json.dumps(document))

    assert faults(path) == []


def no_name(document: Json) -> None:
    del document["name"]


def bad_version(document: Json) -> None:
    document["cniVersion"] = "2.0.0"


def typeless_plugin(document: Json) -> None:
    document["plugins"].append({"ovs": {}})


def versions_in_a_text(document: Json) -> None:
    document["cniVersions"] = "1.0.0"


def program_with_folder(document: Json) -> None:
    bridge(document)["ipam"]["type"] = "../../bin/sh"


def one_name(document: Json) -> None:
    bridge(document)["bridge"] = linen(document)["ovs"]["ovsBridge"]


def one_name_by_default(document: Json) -> None:
    del linen(document)["ovs"]["ovsBridge"]
    bridge(document)["bridge"] = "br0"


def many_tunnels(document: Json) -> None:
    linen(document)["ovs"]["vtepIPs"] = [f"10.1.{i // 250}.{i % 250 + 1}" for i in range(500)]


def too_many_tunnels(document: Json) -> None:
    linen(document)["ovs"]["vtepIPs"] = [f"10.1.{i // 250}.{i % 250 + 1}" for i in range(751)]


def too_many_tunnels_over_ipv6(document: Json) -> None:
    linen(document)["ovs"]["vtepIPs"] = [f"fd00:245::{i:x}" for i in range(1, 602)]


def no_linen(document: Json) -> None:
    document["plugins"].pop()


def linen_first(document: Json) -> None:
    document["plugins"].reverse()


def linen_twice(document: Json) -> None:
    document["plugins"].append(linen(document))


def behind_macvlan(document: Json) -> None:
    document["plugins"][0] = {"type": "macvlan"}


def misspelt_option(document: Json) -> None:
    linen(document)["ovs"]["vtepIP"] = ["10.0.0.1"]


def no_peers(document: Json) -> None:
    linen(document)["ovs"]["vtepIPs"] = []


def legacy(document: Json) -> None:
    entry = linen(document)
    entry["runtimeConfig"] = {"ovs": entry.pop("ovs")}


def legacy_with_capability(document: Json) -> None:
    legacy(document)
    linen(document)["capabilities"] = {"portMappings": True}


def legacy_beside_new(document: Json) -> None:
    linen(document)["runtimeConfig"] = {"ovs": {"ovsBridge": "br9"}}


def default_route_twice(document: Json) -> None:
    bridge(document)["ipam"]["routes"] = [{"dst": "10.0.0.0/8"}, {"dst": "0.0.0.0/0"}]


def no_mtu(document: Json) -> None:
    del bridge(document)["mtu"]


def textual_mtu(document: Json) -> None:
    bridge(document)["mtu"] = "1400"


def mtu_too_small_for_ipv6(document: Json) -> None:
    part = {"subnet": "fd00:244::/48", "rangeStart": "fd00:244::2", "gateway": "fd00:244::1"}
    ipam = bridge(document)["ipam"]
    moved = {key: ipam.pop(key) for key in ("subnet", "rangeStart", "rangeEnd", "gateway")}
    ipam["ranges"] = [[moved], [{**part, "rangeEnd": "fd00:244::99"}]]
    bridge(document)["mtu"] = 1279


def range_outside(document: Json) -> None:
    bridge(document)["ipam"]["rangeEnd"] = "10.245.0.9"


def range_upside_down(document: Json) -> None:
    bridge(document)["ipam"]["rangeEnd"] = "10.244.1.2"


def host_bits(document: Json) -> None:
    bridge(document)["ipam"]["subnet"] = "10.244.1.0/16"


def whole_subnet(document: Json) -> None:
    ipam = bridge(document)["ipam"]
    del ipam["rangeStart"], ipam["rangeEnd"]
    ipam["gateway"] = "10.244.0.0"  # outside of what pods get


def no_gateway(document: Json) -> None:
    del bridge(document)["ipam"]["gateway"]


def gateway_in_range(document: Json) -> None:
    bridge(document)["ipam"]["gateway"] = "10.244.1.20"


def range_in_list_form(document: Json) -> None:
    ipam = bridge(document)["ipam"]
    moved = {key: ipam.pop(key) for key in ("subnet", "rangeStart", "rangeEnd", "gateway")}
    ipam["ranges"] = [[{**moved, "gateway": "10.244.1.20"}]]


def vtep_among_pods(document: Json) -> None:
    linen(document)["ovs"]["vtepIPs"] = ["10.244.9.9"]


FAULTS: list[tuple[Callable[[Json], None], str, str, str, str]] = [
    (no_name, "structure", "error", "name", "null"),
    (bad_version, "structure", "error", "cniVersion", "2.0.0"),
    (versions_in_a_text, "structure", "error", "cniVersions", "'1.0.0'"),
    (typeless_plugin, "structure", "error", "plugins[2]", "type"),
    (program_with_folder, "structure", "error", "", "../../bin/sh"),
    (one_name, "bridge-names", "error", "plugins[0].bridge", "ovs.ovsBridge"),
    (one_name_by_default, "bridge-names", "error", "plugins[0].bridge", "br0"),
    (many_tunnels, "flood-limit", "warning", "", "500 tunnels"),
    (too_many_tunnels, "flood-limit", "error", "", "751 tunnels"),
    (too_many_tunnels_over_ipv6, "flood-limit", "error", "", "of which 600 at most work"),
    (no_linen, "chain-order", "error", "", "linen"),
    (linen_first, "chain-order", "error", "plugins[0]", "before"),
    (linen_twice, "chain-order", "error", "plugins[2]", "twice"),
    (behind_macvlan, "chain-order", "error", "plugins[1]", "macvlan"),
    (misspelt_option, "ovs-options", "error", "plugins[1].ovs.vtepIP", "vtepIPs"),
    (no_peers, "ovs-options", "note", "plugins[1].ovs.vtepIPs", "no tunnel"),
    (legacy, "legacy-options", "warning", "plugins[1].runtimeConfig.ovs", "old place"),
    (legacy_with_capability, "legacy-options", "error", ".runtimeConfig.ovs", "portMappings"),
    (legacy_beside_new, "legacy-options", "warning", ".runtimeConfig.ovs", "ignored"),
    (default_route_twice, "default-route-twice", "error", "ipam.routes[1]", "file exists"),
    (no_mtu, "pod-mtu", "warning", "plugins[0].mtu", "1500"),
    (textual_mtu, "pod-mtu", "error", "plugins[0].mtu", "'1400'"),
    (mtu_too_small_for_ipv6, "pod-mtu", "error", "plugins[0].mtu", "1280"),
    (range_outside, "address-ranges", "error", "plugins[0].ipam.rangeEnd", "10.245.0.9"),
    (range_upside_down, "address-ranges", "error", "plugins[0].ipam", "empty"),
    (host_bits, "address-ranges", "error", "plugins[0].ipam.subnet", "host bits"),
    (whole_subnet, "own-range", "warning", "plugins[0].ipam", "10.244.0.0/16"),
    (no_gateway, "own-gateway", "warning", "plugins[0].ipam", "10.244.0.1"),
    (gateway_in_range, "gateway-in-range", "note", "plugins[0].ipam.gateway", "10.244.1.20"),
    (range_in_list_form, "gateway-in-range", "note", "ipam.ranges[0][0].gateway", "10.244.1.20"),
    (vtep_among_pods, "vtep-in-pod-subnet", "error", "plugins[0].ipam", "10.244.9.9"),
]


@pytest.mark.parametrize(
    ("damage", "check", "severity", "place", "word"),
    FAULTS,
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_finds_its_fault(
    damage: Callable[[Json], None], check: str, severity: str, place: str, word: str, tmp_path: Path
) -> None:
    """A fault is found once, by its own check, with file, place, and what to do."""
    document = conflist()
    damage(document)
    path = tmp_path / "linen.conflist"
    path.write_text(json.dumps(document))

    finding = only_fault(path)

    assert (finding.check, finding.severity) == (check, severity)
    assert str(path) in finding.where
    assert place in finding.where
    assert word in finding.what
    assert finding.cure


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    """No fault hides another: every one of a file is in one answer."""
    document = conflist()
    for damage in (bad_version, misspelt_option, default_route_twice, no_mtu, range_outside):
        damage(document)
    linen(document)["ovs"]["stp"] = "yes"
    path = tmp_path / "linen.conflist"
    path.write_text(json.dumps(document))

    found = sorted(finding.check for finding in faults(path))

    wanted = ["structure", "ovs-options", "ovs-options", "default-route-twice", "pod-mtu"]
    assert found == sorted([*wanted, "address-ranges"])


def test_plugins_must_be_a_list(tmp_path: Path) -> None:
    """A conflist whose plugins are no list is an error at that place."""
    path = tmp_path / "linen.conflist"
    path.write_text(json.dumps({**conflist(), "plugins": {}}))

    assert f"{path}: plugins" in {finding.where for finding in faults(path)}


def test_single_plugin_file(tmp_path: Path) -> None:
    """A .conf of linen alone is refused: there is no plugin before it."""
    path = tmp_path / "linen.conf"
    path.write_text(json.dumps({"name": "n", "cniVersion": "1.0.0", "type": "linen"}))

    checks = {finding.check: finding for finding in faults(path)}

    assert checks["chain-order"].severity == "error"
    assert "single plugin" in checks["chain-order"].what


def test_repeated_key(tmp_path: Path) -> None:
    """A key that stands twice, of which one would be ignored without a word, is named."""
    text = (EXAMPLES / "master.linen.conflist").read_text()
    path = tmp_path / "linen.conflist"
    path.write_text(text.replace('"mtu": 1400', '"mtu": 9000, "mtu": 1400'))

    finding = only_fault(path)

    assert (finding.check, finding.severity) == ("repeated-keys", "warning")
    assert "mtu" in finding.what


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ('{"name": "n",\n "plugins": [{"type": "bridge"},\n ]}', ":3:2", "comma"),
        ('{"name": "n",\n}', ":2:1", "comma"),
        ('{"name": "n" "x": 1}', ":1:14", "comma is missing"),
        ('{\n  // a comment\n  "name": "n"}', ":2:3", "comments"),
        ('{"plugins": [', ":1:14", "ends too early"),
        ("", ":1:1", "empty"),
        ("NaN", "", ""),
        ("[]", "", ""),
        ("[" * 100_000, "", ""),
    ],
)
def test_broken_json(text: str, place: str, hint: str, tmp_path: Path) -> None:
    """What is not JSON is an error with line and column, and the usual mistakes are named."""
    path = tmp_path / "linen.conflist"
    path.write_text(text)

    finding = only_fault(path)

    assert (finding.check, finding.severity) == ("readable", "error")
    assert finding.where.startswith(f"{path}{place}")
    assert hint in finding.cause


def test_not_utf8(tmp_path: Path) -> None:
    """A file in another encoding is an error that says so."""
    path = tmp_path / "linen.conflist"
    path.write_bytes('{"name": "nät"}'.encode("latin-1"))

    assert "UTF-8" in only_fault(path).what
