# SPDX-License-Identifier: Apache-2.0
"""Checks of a node's folder: conflists that do not go together, and who may read them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from linen.host.checks.folder import USER_OF_IMAGE, read_folder
from linen.host.diagnosis import diagnose_folder, diagnose_together
from support.cni import plugin_entry
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from linen.host.findings import Finding

# Options for topology flow in place of those for a star.
FLOW: dict[str, Any] = {"topology": "flow", "vtepIPs": None, "controller": None, "isMaster": None}


class NetD:
    """A runtime's folder with two networks of ours in it that go together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("10-first.conflist", self.network("first", 1))
        self.write("20-second.conflist", self.network("second", 2))

    @staticmethod
    def network(name: str, number: int) -> dict[str, Any]:
        """A sound conflist, in which everything that has to be its own is."""
        document = json.loads((EXAMPLES / "master.linen.conflist").read_text())
        assert isinstance(document, dict)
        document["name"] = name
        bridge = plugin_entry(document, "bridge")
        bridge["bridge"] = f"kbr{number}"
        bridge["ipam"] = {
            "type": "host-local",
            "subnet": f"10.{number}.0.0/16",
            "rangeStart": f"10.{number}.1.10",
            "rangeEnd": f"10.{number}.1.20",
            "gateway": f"10.{number}.1.1",
        }
        plugin_entry(document, "linen")["ovs"] |= {"ovsBridge": f"br{number}", "vni": number}
        return document

    def write(self, file: str, document: object) -> Path:
        """Write a file as an installed one is."""
        path = self.path / file
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        path.chmod(0o600)
        return path

    def second(self, bridge: str | None = None, mtu: int = 1400, **ovs: object) -> None:
        """Change the second network's options; None takes one out."""
        document = self.network("second", 2)
        entry = plugin_entry(document, "bridge")
        entry["bridge"] = bridge or entry["bridge"]
        entry["mtu"] = mtu
        block = plugin_entry(document, "linen")["ovs"] | ovs
        plugin_entry(document, "linen")["ovs"] = {k: v for k, v in block.items() if v is not None}
        self.write("20-second.conflist", document)

    def faults(self) -> dict[str, Finding]:
        """The findings by check."""
        folder = read_folder(self.path)
        found = diagnose_folder(folder) + diagnose_together(folder.networks, str(self.path))
        found = [one for one in found if one.severity != "ok"]
        assert len({one.check for one in found}) == len(found), found
        return {one.check: one for one in found}

    def only_fault(self, check: str) -> Finding:
        """The one finding, of this check."""
        faults = self.faults()
        assert list(faults) == [check]
        return faults[check]


@pytest.fixture
def net_d(tmp_path: Path) -> NetD:
    """A sound folder."""
    return NetD(tmp_path)


def test_two_networks_of_one_node(net_d: NetD) -> None:
    """Two networks with everything their own have no finding."""
    assert net_d.faults() == {}


def test_empty_folder(tmp_path: Path) -> None:
    """A folder without a conflist of ours is pointed out, an absent one too."""
    for path in (tmp_path, tmp_path / "absent"):
        findings = diagnose_folder(read_folder(path))
        assert [one.check for one in findings if one.severity == "warning"] == ["conflist-missing"]


def test_unreadable_file(net_d: NetD) -> None:
    """A file of anybody that is not JSON is an error: the runtime stops at it."""
    path = net_d.write("99-other.conflist", "{")

    assert net_d.only_fault("readable").where.startswith(str(path))


@pytest.mark.parametrize(
    ("mode", "severity"), [(0o644, "warning"), (0o640, "warning"), (0o660, "error")]
)
def test_file_mode(mode: int, severity: str, net_d: NetD) -> None:
    """Who else may read our conflist is a warning, who else may change it an error."""
    (net_d.path / "10-first.conflist").chmod(mode)

    finding = net_d.only_fault("file-mode")

    assert finding.severity == severity
    assert f"{mode:04o}" in finding.what


def test_file_owner(net_d: NetD) -> None:
    """A conflist of another user than root is an error."""
    os.chown(net_d.path / "10-first.conflist", 1234, 0)

    assert net_d.only_fault("file-mode").severity == "error"


def test_conflist_that_flaxd_wrote(net_d: NetD) -> None:
    """A conflist of the user that flaxd has in a cluster is no fault, if nobody else may write."""
    path = net_d.path / "10-first.conflist"
    os.chown(path, USER_OF_IMAGE, USER_OF_IMAGE)

    assert net_d.only_fault("file-mode").severity == "note"
    path.chmod(0o660)
    assert net_d.only_fault("file-mode").severity == "error"


def test_another_file_first(net_d: NetD) -> None:
    """A foreign file that the runtime takes before ours is named."""
    other = {"name": "other", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}
    path = net_d.write("00-other.conflist", other)

    finding = net_d.only_fault("first-file")

    assert finding.where == str(path)
    assert "10-first.conflist" in finding.what
    assert finding.cure.endswith("rename ours, for example to 05-10-first.conflist")

    net_d.write("10-first.conflist", NetD.network("first", 1) | {"managedBy": "flaxd"})
    cure = net_d.only_fault("first-file").cure
    assert f"LINEN_CONFLIST={net_d.path / '05-10-first.conflist'}" in cure  # flaxd writes it anew


def test_same_name(net_d: NetD) -> None:
    """Two files with one network's name are an error."""
    net_d.write("30-third.conflist", NetD.network("first", 1))

    assert "10-first.conflist" in net_d.only_fault("same-name").what


def test_ovs_bridge_with_two_vnis(net_d: NetD) -> None:
    """Two networks on one OVS bridge with different vni are an error, as the plugin has it."""
    net_d.second(ovsBridge="br1")

    assert net_d.faults()["same-ovs-bridge"].severity == "error"


def test_ovs_bridge_shared(net_d: NetD) -> None:
    """Two networks on one OVS bridge with one vni are a warning: they are one segment."""
    net_d.second(ovsBridge="br1", vni=1)

    assert net_d.faults()["same-ovs-bridge"].severity == "warning"


def test_linux_bridge_joins_overlays(net_d: NetD) -> None:
    """A Linux bridge with two OVS bridges is an error: it joins what should be apart."""
    net_d.second(bridge="kbr1")

    assert "kbr1" in net_d.only_fault("same-linux-bridge").what


def test_same_tunnel_twice(net_d: NetD) -> None:
    """Two networks that want the same tunnel on two OVS bridges are an error."""
    net_d.second(vni=1, dstPort=4789)

    assert "10.245.2.2 with key 1" in net_d.faults()["same-tunnel"].what


def test_vni_on_two_ports(net_d: NetD) -> None:
    """One vni on two UDP ports is a warning."""
    net_d.second(vni=1, dstPort=8472)

    assert "8472" in net_d.only_fault("same-vni").what


def test_vni_with_other_addresses(net_d: NetD) -> None:
    """One vni for two networks with other addresses is an error that names both."""
    net_d.second(vni=1)

    finding = net_d.faults()["same-vni"]

    assert finding.severity == "error"
    assert "10-first.conflist" in finding.what
    assert "other pod addresses" in finding.what


def test_two_networks_without_vni(net_d: NetD) -> None:
    """Two networks without a vni are one on the wire, unless they have ports of their own."""
    for name, number in ("first", 1), ("second", 2):
        document = NetD.network(name, number)
        del plugin_entry(document, "linen")["ovs"]["vni"]
        net_d.write(f"{number}0-{name}.conflist", document)
    assert "no vni" in net_d.faults()["same-vni"].what

    net_d.second(vni=None, dstPort=8472)
    assert net_d.faults() == {}


def test_one_network_without_vni(net_d: NetD) -> None:
    """A network without a vni beside one that has one is a warning; not in topology flow."""
    net_d.second(vni=None)
    assert "network first" in net_d.only_fault("vni-missing").what

    net_d.second(vni=None, **FLOW)
    assert net_d.faults() == {}


def test_two_networks_of_topology_flow(net_d: NetD) -> None:
    """Topology flow needs a vni for each network and an OVS bridge that no other has."""
    first = NetD.network("first", 1)
    plugin_entry(first, "linen")["ovs"] = {"topology": "flow", "ovsBridge": "br1", "vni": 1}
    net_d.write("10-first.conflist", first)
    net_d.second(**FLOW)
    assert net_d.faults() == {}

    net_d.second(vni=1, **FLOW)
    assert "tunnel to all nodes with key 1" in net_d.faults()["same-tunnel"].what

    net_d.second(vni=1, ovsBridge="br1", **FLOW)
    assert net_d.only_fault("same-ovs-bridge").severity == "error"


@pytest.mark.parametrize("program", ["multus", "multus-shim"])
def test_multus_before_ours(net_d: NetD, program: str) -> None:
    """Multus' own file may come first: it passes pods on to the networks after it."""
    file = {"name": "multus", "cniVersion": "1.0.0", "type": program, "clusterNetwork": "first"}
    net_d.write("00-multus.conf", file)

    assert net_d.faults() == {}


def test_overlapping_ranges(net_d: NetD) -> None:
    """Two networks with the same addresses are a warning where the node routes for both."""
    document = NetD.network("second", 2)
    bridge = plugin_entry(document, "bridge")
    bridge["ipam"] = plugin_entry(NetD.network("x", 1), "bridge")["ipam"]
    net_d.write("20-second.conflist", document)
    assert "10.1.1.10-10.1.1.20" in net_d.only_fault("overlapping-ranges").what

    del bridge["isDefaultGateway"], bridge["isGateway"]
    net_d.write("20-second.conflist", document)
    assert net_d.faults() == {}
