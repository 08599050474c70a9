# SPDX-License-Identifier: Apache-2.0
"""A node's conflist: rendered for it, or a given one with as little changed as possible."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import pytest

from linen.lab.conflists import (
    conflist_of,
    plugin_types,
    read_conflists,
    render_conflist,
    with_datapath,
)
from linen.lab.description import describe
from linen.lab.errors import LabError
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path


def test_rendered_conflist() -> None:
    """A rendered conflist is bridge, linen, portmap, with the node's own addresses."""
    lab = describe(3, "star")

    conflist = render_conflist(lab, lab.node("node1"), "1.0.0")

    bridge, linen, portmap = conflist["plugins"]
    assert (conflist["cniVersion"], conflist["name"]) == ("1.0.0", "linen-network")
    assert (bridge["type"], bridge["bridge"], bridge["mtu"]) == ("bridge", "kbr0", 1400)
    assert bridge["ipam"] == {
        "type": "host-local",
        "subnet": "10.244.0.0/16",
        "rangeStart": "10.244.1.10",
        "rangeEnd": "10.244.1.250",
        "gateway": "10.244.1.1",
    }
    assert linen == {
        "type": "linen",
        "ovs": {
            "isMaster": True,
            "ovsBridge": "br0",
            "topology": "star",
            "vtepIPs": ["10.245.2.3", "10.245.2.4"],
        },
    }
    assert portmap == {"type": "portmap", "capabilities": {"portMappings": True}}


def test_rendered_conflist_of_ipv6() -> None:
    """With IPv6 pods a rendered conflist has IPv6 ranges alone, its tunnels the VTEPs' version."""
    lab = describe(2, "mesh", pod_family="ipv6", vtep_family="ipv6")

    bridge, linen, _ = render_conflist(lab, lab.node("node1"), "1.0.0")["plugins"]

    assert bridge["ipam"] == {
        "type": "host-local",
        "subnet": "fd00:10:244::/48",
        "rangeStart": "fd00:10:244:1::a",
        "rangeEnd": "fd00:10:244:1::fa",
        "gateway": "fd00:10:244:1::1",
    }
    assert linen["ovs"]["vtepIPs"] == ["fd00:10:245::3"]


def test_rendered_conflist_of_both_versions() -> None:
    """Dual-stack pods get an address out of each of two sets of ranges, IPv4 first."""
    lab = describe(2, pod_family="dual")

    bridge, linen, _ = render_conflist(lab, lab.node("node2"), "1.0.0")["plugins"]

    gateways = [[one["gateway"] for one in ranges] for ranges in bridge["ipam"]["ranges"]]
    assert gateways == [["10.244.2.1"], ["fd00:10:244:2::1"]]
    assert linen["ovs"]["vtepIPs"] == ["10.245.2.2"]


def test_a_mesh_has_no_master() -> None:
    """In a mesh no node is the master."""
    lab = describe(2, "mesh")

    conflists = [render_conflist(lab, node, "1.0.0") for node in lab.nodes]

    assert [one["plugins"][1]["ovs"]["isMaster"] for one in conflists] == [False, False]


@pytest.mark.parametrize(
    ("folder", "place"), [("", ["ovs"]), ("original", ["runtimeConfig", "ovs"])]
)
def test_userspace_datapath_is_all_that_is_added(folder: str, place: list[str]) -> None:
    """In an example conflist only datapathType is added, where its options are."""
    given = read_conflists(EXAMPLES / folder)
    lab = describe(3, datapath="netdev", conflists=given)

    adapted = conflist_of(lab, lab.node("node2"), "1.1.0")

    expected = copy.deepcopy(given[1])
    options = expected["plugins"][1]
    for key in place:
        options = options[key]
    options["datapathType"] = "netdev"
    assert adapted == expected
    assert "datapathType" not in json.dumps(given)


def test_kernel_datapath_changes_nothing() -> None:
    """With the kernel's datapath a given conflist stays as it is."""
    given = read_conflists(EXAMPLES)
    lab = describe(3, datapath="system", conflists=given)

    assert conflist_of(lab, lab.node("node1"), "1.1.0") == given[0]


def test_a_named_datapath_stays() -> None:
    """A conflist that names a datapath is left alone."""
    conflist = {"name": "n", "plugins": [{"type": "linen", "ovs": {"datapathType": "system"}}]}

    assert with_datapath(conflist, "netdev") == conflist


def test_examples_in_order() -> None:
    """The examples belong to node1, node2, node3 in the order master, minion1, minion2."""
    starts = [one["plugins"][0]["ipam"]["rangeStart"] for one in read_conflists(EXAMPLES)]

    assert starts == ["10.244.1.10", "10.244.2.10", "10.244.3.10"]


def test_numbers_in_names_count(tmp_path: Path) -> None:
    """Files are taken in the order a person counts: minion2 before minion10."""
    for name in ("minion10", "master", "minion2"):
        conflist = {"name": name, "plugins": [{"type": "bridge"}]}
        (tmp_path / f"{name}.conflist").write_text(json.dumps(conflist))

    assert [one["name"] for one in read_conflists(tmp_path)] == ["master", "minion2", "minion10"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", "a conflist is an object"),
        ('{"name": "x", "plugins": []}', "a conflist is an object"),
        ('{"name": "x", "plugins": [{}]}', "a conflist is an object"),
        ('{"plugins": [{"type": "x"}]}', "a conflist is an object"),
        ('{"name": "x", "cniVersion": 1, "plugins": [{"type": "x"}]}', "cniVersion 1 is no"),
        (
            '{"name": "x", "cniVersion": "one", "plugins": [{"type": "x"}]}',
            "cniVersion 'one' is no",
        ),
        ('{"name": "x", "plugins": [{"type": "x", "ipam": null}]}', "ipam of plugin x has"),
        (
            '{"name": "x", "plugins": [{"type": "x", "ipam": {"type": 1}}]}',
            r"ipam\.type of plugin x",
        ),
        ('{"name": "x", "plugins": [{"type": "x", "ovs": []}]}', "ovs of plugin x has to be an"),
        (
            '{"name": "x", "plugins": [{"type": "x", "runtimeConfig": {"ovs": 1}}]}',
            r"runtimeConfig\.ovs of plugin x",
        ),
    ],
)
def test_no_conflist(tmp_path: Path, content: str, complaint: str) -> None:
    """A file that is no conflist is refused by its name."""
    (tmp_path / "bad.conflist").write_text(content)

    with pytest.raises(LabError, match=rf"bad\.conflist: .*{complaint}"):
        read_conflists(tmp_path)


def test_empty_folder(tmp_path: Path) -> None:
    """A folder without conflists is an error, not a lab without networks."""
    with pytest.raises(LabError, match=r"no file named \*\.conflist"):
        read_conflists(tmp_path)


def test_plugin_types() -> None:
    """The plugins of a conflist include those for address management."""
    assert plugin_types(read_conflists(EXAMPLES)[0]) == {"bridge", "host-local", "linen"}
