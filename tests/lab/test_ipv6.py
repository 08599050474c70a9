# SPDX-License-Identifier: Apache-2.0
"""The plugin without a daemon, over both IP versions: static peers, real packets."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from linen.core import addresses
from linen.lab.cluster import Lab
from linen.lab.conflists import conflist_of, render_json
from linen.lab.description import (
    POD_FAMILIES,
    TOPOLOGIES,
    VTEP_FAMILIES,
    PodFamily,
    Topology,
    VtepFamily,
    describe,
)
from linen.lab.programs import Toolkit
from linen.lab.runtime import Runtime, _Target, build_config
from support.labs import fresh_name, linenctl
from support.paths import GO_TOOLS
from support.reach import assert_all_reach_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.node import Node

CONFLIST = "/etc/cni/net.d/linen.conflist"
RESERVATIONS = "var/lib/cni/networks/linen-network"
OVERHEAD: dict[VtepFamily, int] = {
    "ipv4": addresses.OVERHEAD_IPV4,
    "ipv6": addresses.OVERHEAD_IPV6,
}


@pytest.fixture(scope="module", params=VTEP_FAMILIES)
def vtep_family(request: pytest.FixtureRequest) -> VtepFamily:
    """The IP version of the underlay."""
    family: VtepFamily = request.param
    return family


@pytest.fixture(scope="module", params=TOPOLOGIES)
def lab(request: pytest.FixtureRequest, vtep_family: VtepFamily) -> Iterator[Lab]:
    """Three nodes in each topology, on an underlay of one IP version, with current plugins."""
    topology: Topology = request.param
    toolkit = Toolkit.find(cni_path=GO_TOOLS)
    assert toolkit.cni_version == "1.1.0"
    described = describe(3, topology, name=fresh_name(), vtep_family=vtep_family)
    with Lab.started(described, toolkit=toolkit) as started:
        yield started


@pytest.mark.parametrize("pod_family", POD_FAMILIES)
def test_every_combination(lab: Lab, vtep_family: VtepFamily, pod_family: PodFamily) -> None:
    """All pods reach all, CHECK is content, and GC and DEL give every address back."""
    mtu = 1500 - OVERHEAD[vtep_family]
    for node, pod in zip(lab.nodes.values(), "abc", strict=True):
        write_conflist(lab, node, pod_family, mtu)
        lab.add_pod(node.name, pod)

    assert_all_reach_all(lab, mtu)

    for pod in "abc":
        lab.check_pod(pod)
    kept, stale, *_ = lab.nodes.values()
    collect_garbage(stale)
    assert reservations(stale) == []
    before = kept.run(["ovs-vsctl", "show"]).stdout
    for pod in "abc":
        lab.del_pod(pod)
    assert reservations(kept) == []
    assert kept.run(["ovs-vsctl", "show"]).stdout == before


def write_conflist(lab: Lab, node: Node, pod_family: PodFamily, mtu: int) -> None:
    """Give a node the conflist by which its pods have these IP versions."""
    described = replace(lab.description, pod_family=pod_family)
    conflist = conflist_of(described, node.description, "1.1.0")
    conflist["plugins"][0]["mtu"] = mtu
    node.write_file(CONFLIST, render_json(conflist))


def collect_garbage(node: Node) -> None:
    """DEL and GC, as a runtime does that knows no pod of the node any more."""
    runtime = Runtime(node)
    for attachment in runtime.attachments():
        runtime.delete(attachment)
    conflist = runtime.networks()["linen-network"]
    for plugin in conflist["plugins"]:
        config = build_config(conflist, plugin, None, {}) | {"cni.dev/valid-attachments": []}
        runtime._run("GC", plugin["type"], config, _Target())


def reservations(node: Node) -> list[str]:
    """The addresses that host-local has given away."""
    names = (path.name for path in (node.root / RESERVATIONS).iterdir())
    return sorted(name for name in names if name[0].isdecimal() or ":" in name)


def test_command_line(lab_name: str) -> None:
    """`linenctl lab up` makes a dual-stack lab on IPv6, and `ping-matrix` tries both versions."""
    options = ("--nodes", "2", "--pod-family", "dual", "--vtep-family", "ipv6")
    up = linenctl("lab", "up", "--name", lab_name, *options)
    assert up.returncode == 0, up.stderr
    try:
        added = [linenctl("lab", "add-pod", "--name", lab_name, "--json") for _ in range(2)]
        (first,) = json.loads(added[0].stdout)
        assert [ip["address"] for ip in first["result"]["ips"]] == [
            "10.244.1.10/16",
            "fd00:10:244:1::a/48",
        ]
        done = linenctl("lab", "ping-matrix", "--name", lab_name, "--json")
        assert json.loads(done.stdout)["complete"] is True
        blocked = ("ip", "-6", "route", "add", "blackhole", "fd00:10:244:2::a/128")
        linenctl("lab", "exec", "--name", lab_name, "pod1", "--", *blocked)
        half = linenctl("lab", "ping-matrix", "--name", lab_name, "--json", "--deadline", "5")
        assert half.returncode == 1
        assert json.loads(half.stdout)["silent"] == [
            {"from": "pod1", "to": "pod2", "addresses": ["fd00:10:244:2::a"]},
            {"from": "pod2", "to": "pod1", "addresses": ["fd00:10:244:1::a"]},
        ]
    finally:
        assert linenctl("lab", "down", "--name", lab_name).returncode == 0
