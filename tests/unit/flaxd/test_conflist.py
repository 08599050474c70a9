# SPDX-License-Identifier: Apache-2.0
"""The conflist that the daemon renders, and what it makes of an administrator's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linen.cni import config, options
from linen.flaxd import conflist
from linen.host import diagnosis, pod_ranges
from linen.host.conflists import is_managed
from linen.host.errors import HostError
from linen.host.programs import FLAXD_CHAIN
from linen.settings.table import Settings, load

if TYPE_CHECKING:
    from pathlib import Path


CONFLIST = "/etc/cni/net.d/linen.conflist"


def chosen(**arguments: str) -> Settings:
    """Settings, with underscores for dashes."""
    given = {name.replace("_", "-"): text for name, text in arguments.items()}
    return load({"node": "node1"} | given, {}, None)


def test_rendered() -> None:
    """The subnet is the whole segment, the range the node's part, the gateway its first address."""
    found = conflist.render(
        chosen(), ["10.244.0.0/16"], ["10.244.1.0/24"], 1450, ["1.0.0", "1.1.0"]
    )

    bridge, linen, portmap = found["plugins"]
    assert found["name"] == "linen-network"
    assert (found["cniVersion"], found["cniVersions"]) == ("1.0.0", ["1.0.0", "1.1.0"])
    assert bridge["mtu"] == 1450
    assert bridge["forceAddress"]
    assert bridge["ipam"]["ranges"] == [
        [
            {
                "subnet": "10.244.0.0/16",
                "rangeStart": "10.244.1.2",
                "rangeEnd": "10.244.1.254",
                "gateway": "10.244.1.1",
            }
        ]
    ]
    assert linen == {"type": "linen", "ovs": {"ovsBridge": "br0", "topology": "mesh"}}
    assert portmap["type"] == "portmap"


def test_without_a_gateway() -> None:
    """A network whose pods reach one another alone has nothing in it that leads out."""
    found = conflist.render(
        chosen(gateway="none"), ["10.244.0.0/16"], ["10.244.1.0/24"], 1450, ["1.0.0"]
    )

    bridge, linen = found["plugins"]
    assert bridge.keys() == {"type", "bridge", "hairpinMode", "ipam", "mtu"}
    assert linen["type"] == "linen"


def test_dual_stack() -> None:
    """Each IP version has a set of ranges of its own."""
    cluster_range = ["10.244.0.0/16", "fd00:244::/48"]
    own = ["10.244.1.0/24", "fd00:244:0:1::/64"]

    found = conflist.render(chosen(), cluster_range, own, None, ["1.0.0"])

    ipv4, ipv6 = found["plugins"][0]["ipam"]["ranges"]
    assert ipv4[0]["gateway"] == "10.244.1.1"
    assert (ipv6[0]["subnet"], ipv6[0]["gateway"]) == ("fd00:244::/48", "fd00:244:0:1::1")


def test_several_ranges_have_one_gateway(tmp_path: Path) -> None:
    """All parts of one IP version have the first one's gateway, which is in none of them.

    `linenctl check` finds nothing wrong with that.
    """
    cluster_range = ["10.244.0.0/16", "fd00:244::/48"]
    own = ["10.244.1.0/29", "fd00:244:0:1::/64", "10.244.9.0/24", "fd00:244:0:9::/64"]

    found = conflist.render(chosen(), cluster_range, own, 1450, ["1.0.0"])

    entry = found["plugins"][0]
    assert [[part["gateway"] for part in one] for one in entry["ipam"]["ranges"]] == [
        ["10.244.1.1"] * 2,
        ["fd00:244:0:1::1"] * 2,
    ]
    pods, faults = pod_ranges.parse_ranges(entry, "bridge")
    assert (len(pods), faults) == (4, [])
    gateways = {one.gateway for one in pods if one.gateway}
    assert not any(one.has(gateway) for one in pods for gateway in gateways)
    conflist.write(path := tmp_path / "10-linen.conflist", found)
    assert [one for one in diagnosis.diagnose_file(path) if one.severity != "ok"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"vni": "7", "dst_port": "8472", "datapath_type": "netdev"},
        {"topology": "star", "stp": "rstp", "controller": "[10.0.0.1:6653, 'ssl:10.0.0.2']"},
        {"tunnel_options": "{csum: true}", "ovsdb": "unix:/x/db.sock", "ovs_bridge": "br7"},
        {"datapath_type": "system"},
    ],
)
def test_plugin_wants_what_the_daemon_wants(arguments: dict[str, str]) -> None:
    """What the plugin parses from the rendered conflist are the daemon's own options."""
    found = chosen(**arguments)
    faults: list[str] = []

    block = conflist.overlay_block(found.overlay)
    parsed = options.parse({"ovs": block}, faults, [])

    assert faults == []
    assert parsed == found.overlay


def administrators(**ovs: Any) -> dict[str, Any]:
    """A conflist that somebody wrote by hand."""
    entry = {"type": "linen", "ovs": ovs}
    return {"name": "blue", "plugins": [{"type": "bridge", "bridge": "lb7"}, entry]}


def test_adopts_an_administrators_conflist() -> None:
    """The network, its bridges and its vni are taken from the file; what it leaves open is ours."""
    adopted, faults = conflist.adopt(chosen(), administrators(ovsBridge="br7", vni=7))

    assert faults == []
    assert (adopted.network, adopted.linux_bridge) == ("blue", "lb7")
    assert (adopted.overlay.ovs_bridge, adopted.overlay.vni) == ("br7", 7)
    assert adopted.overlay.topology == "mesh"


def test_contradiction() -> None:
    """A setting that the conflist contradicts is a fault that names both."""
    _, faults = conflist.adopt(chosen(vni="8"), administrators(vni=7))

    assert faults == [f"vni is 8, but {CONFLIST} says vni 7"]


def test_another_network() -> None:
    """A conflist of another network than the daemon was told to keep is a fault, with its names."""
    _, faults = conflist.adopt(chosen(network="red", linux_bridge="lb8"), administrators())

    assert faults == [
        f"network is 'red', but {CONFLIST} says name 'blue'",
        f"linux-bridge is 'lb8', but {CONFLIST} says bridge 'lb7'",
    ]


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("runtimeConfig", ["x"], []),
        ("runtimeConfig", {"ovs": ["x"]}, ["runtimeConfig.ovs: must be an object, is a list"]),
        ("type", ["linen"], [f"{CONFLIST}: has no entry of type bridge, or none of linen"]),
    ],
)
def test_a_conflist_of_another_shape(place: str, value: Any, expected: list[str]) -> None:
    """What an administrator's conflist has in an odd shape is a fault or nothing, no traceback."""
    document = administrators()
    entry = document["plugins"][1]
    del entry["ovs"]
    entry[place] = value

    _, faults = conflist.adopt(chosen(), document)

    assert faults == expected


@pytest.mark.parametrize("name", [None, 7, ""])
def test_a_conflist_without_a_name(name: Any) -> None:
    """A network without a name is not called "None"."""
    _, faults = conflist.adopt(chosen(), administrators() | {"name": name})

    assert faults == [f"{CONFLIST}: `name` is missing, or no string"]


def test_migration() -> None:
    """Options in the old place move to the new one, and nothing else changes."""
    document = administrators()
    entry = document["plugins"][1]
    entry["runtimeConfig"] = {"ovs": {"vni": 7}, "other": 1}
    del entry["ovs"]

    found = conflist.migrated(document)

    assert found is not None
    assert found["plugins"][1] == {
        "type": "linen",
        "runtimeConfig": {"other": 1},
        "ovs": {"vni": 7},
    }
    assert conflist.migrated(found) is None


def test_file_is_private_and_written_once(tmp_path: Path) -> None:
    """The file has mode 0600, and writing the same again changes nothing."""
    path = tmp_path / "net.d" / "linen.conflist"
    document = conflist.render(
        chosen(), ["10.244.0.0/16"], ["10.244.1.0/24"], 1450, ["1.0.0", "1.1.0"]
    )

    assert conflist.write(path, document) is True
    assert conflist.write(path, document) is False
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_managed(json.loads(path.read_text()))
    assert config.parse(document["plugins"][1] | {"name": document["name"]}).name == "linen-network"


def test_plugins_that_a_container_does_not_see(tmp_path: Path) -> None:
    """A link that leads nowhere here is taken for a plugin of 1.0.0: all that are supported are."""
    for name in FLAXD_CHAIN:
        plugin = tmp_path / name
        plugin.write_text(
            '#!/bin/sh\necho \'{"supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}\'\n'
        )
        plugin.chmod(0o755)
    assert conflist.common_versions(tmp_path) == ["1.0.0", "1.1.0"]

    (tmp_path / "portmap").unlink()
    (tmp_path / "portmap").symlink_to("/usr/nowhere/portmap")

    assert conflist.common_versions(tmp_path) == ["1.0.0"]


def test_plugin_that_is_missing(tmp_path: Path) -> None:
    """A plugin that is not there at all is named."""
    with pytest.raises(HostError, match=str(tmp_path / "bridge")):
        conflist.common_versions(tmp_path)
