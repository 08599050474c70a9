# SPDX-License-Identifier: Apache-2.0
"""The copy of our conflist in Multus' own file: pods get it, whatever ours says by now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linen.host.checks.folder import read_folder
from linen.host.diagnosis import diagnose_folder
from support.cni import Json, plugin_entry
from support.conflists import multus_file
from unit.host.test_folder_checks import NetD

if TYPE_CHECKING:
    from pathlib import Path

RESTART = "rollout restart daemonset/kube-multus-ds"


class WithMultus(NetD):
    """A folder with two networks of ours, of which Multus has found the first."""

    def multus(self, original: Json, file: str = "00-multus.conflist", **changes: object) -> None:
        """Write Multus' file."""
        self.write(file, multus_file(original, **changes))


@pytest.fixture
def net_d(tmp_path: Path) -> WithMultus:
    """The folder, without Multus' file."""
    net_d = WithMultus(tmp_path)
    net_d.write("10-first.conflist", network())
    return net_d


def network(mtu: int = 1400, version: str = "1.0.0", name: str = "first") -> Json:
    """The first network."""
    document = NetD.network("first", 1) | {"cniVersion": version, "name": name}
    plugin_entry(document, "bridge")["mtu"] = mtu
    return document


@pytest.mark.parametrize("version", ["1.0.0", "0.3.1"])
def test_copy_that_is_equal(net_d: WithMultus, version: str) -> None:
    """A copy that says what ours says is no fault, in either form that Multus' file has."""
    file = "00-multus.conflist" if version == "1.0.0" else "00-multus.conf"
    net_d.write("10-first.conflist", network(version=version))
    net_d.multus(network(version=version), file)

    assert net_d.faults() == {}


@pytest.mark.parametrize("version", ["1.0.0", "0.3.1"])
def test_copy_of_before(net_d: WithMultus, version: str) -> None:
    """A copy that differs is a warning: the place in the file, the values, what makes it anew."""
    is_list = version == "1.0.0"
    file = "00-multus.conflist" if is_list else "00-multus.conf"
    net_d.multus(network(mtu=1450, version=version), file)
    net_d.write("10-first.conflist", network(version=version))

    finding = net_d.only_fault("multus-copy")

    assert finding.severity == "warning"
    place = "plugins[0].delegates[0]" if is_list else "delegates[0]"
    assert finding.where == f"{net_d.path / file}: {place}"
    assert "plugins[0].mtu is 1450, and 1400 in 10-first.conflist" in finding.what
    assert finding.cure.endswith(f"{RESTART}`")


def test_copy_without_what_was_added(net_d: WithMultus) -> None:
    """A key, or a plugin, that only one of the two has is named, and of many some alone."""
    before = network()
    del plugin_entry(before, "bridge")["mtu"]
    net_d.multus(before)
    assert "plugins[0].mtu is absent, and 1400 in" in net_d.only_fault("multus-copy").what

    before = NetD.network("first", 7) | {"cniVersion": "1.0.0", "plugins": network()["plugins"][:1]}
    net_d.multus(before)
    assert "plugins has 1 entry, and 2 in 10" in net_d.only_fault("multus-copy").what

    net_d.multus(NetD.network("first", 7) | {"cniVersion": "1.0.0"})
    assert net_d.only_fault("multus-copy").what.endswith("; and 4 more differences")


@pytest.mark.parametrize(
    "changes",
    [
        {"delegates": None, "clusterNetwork": "first"},
        {"delegates": None, "clusterNetwork": "first", "type": "multus-shim"},
        {"delegates": None, "type": "multus-shim"},  # whose daemon knows
        {"clusterNetwork": "first"},  # with which Multus reads no delegates
        {"delegates": [{"name": "other", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}]},
        {"delegates": [{"name": "other", "cniVersion": "1.0.0", "type": "ptp"}]},
    ],
)
def test_no_copy_of_ours(net_d: WithMultus, changes: dict[str, Any]) -> None:
    """A network of others, and a name or path in place of a copy, are no fault."""
    net_d.multus(network(mtu=1450), **changes)

    assert net_d.faults() == {}


def test_copy_of_a_network_that_is_gone(net_d: WithMultus) -> None:
    """A copy of a network that has another name by now, or no conflist at all, is a warning."""
    net_d.multus(network(name="before"))
    finding = net_d.only_fault("multus-copy")
    assert "network before" in finding.what
    assert RESTART in finding.cure

    for path in net_d.path.glob("[12]0-*"):
        path.unlink()
    found = [one for one in diagnose_folder(read_folder(net_d.path)) if one.severity != "ok"]
    assert [(one.check, one.severity) for one in found] == [("multus-copy", "warning")]
    assert "delete Multus" in found[0].cure


def test_another_file_that_multus_would_copy(net_d: WithMultus) -> None:
    """Where Multus would copy another file now, the cure begins with that."""
    net_d.multus(network(mtu=1450))
    other = {"name": "other", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}
    net_d.write("05-other.conflist", other)

    cure = net_d.only_fault("multus-copy").cure

    assert cure.index("05-other.conflist") < cure.index(RESTART)


def test_file_of_before_beside_the_new_one(net_d: WithMultus) -> None:
    """A file that Multus writes under another name by now has to be removed."""
    net_d.multus(network(version="0.3.1"), "00-multus.conf")
    net_d.multus(network())

    finding = net_d.only_fault("multus-copy")

    assert finding.where.startswith(f"{net_d.path}/00-multus.conf:")
    assert "cniVersion is '0.3.1', and '1.0.0' in" in finding.what
    assert finding.cure.endswith("00-multus.conflist; then remove 00-multus.conf")


def test_file_that_multus_did_not_make(net_d: WithMultus) -> None:
    """Of a file of another name nobody knows that a restart makes it anew."""
    net_d.multus(network(mtu=1450), "01-mine.conflist")

    assert RESTART not in net_d.only_fault("multus-copy").cure


@pytest.mark.parametrize(
    ("delegates", "place", "kind"),
    [
        ({"name": "first"}, "", "an object"),
        ("first", "", "'first'"),
        ([], "", "an empty list"),
        (None, "", "null"),
        ([network(), 7], "[1]", "7"),
        ([None], "[0]", "null"),
        ([[]], "[0]", "an empty list"),
    ],
)
def test_malformed_delegates(net_d: WithMultus, delegates: Any, place: str, kind: str) -> None:
    """What Multus itself cannot read is an error that says where it is, and what it should be."""
    net_d.multus(network(), delegates=delegates)

    finding = net_d.only_fault("multus-copy")

    assert finding.severity == "error"
    assert finding.where.endswith(f"00-multus.conflist: plugins[0].delegates{place}")
    assert f"is {kind}" in finding.what
    assert finding.cure.startswith("remove the file")


def test_malformed_file_of_others(net_d: WithMultus) -> None:
    """A file that Multus did not write is to be corrected, not removed."""
    net_d.multus(network(), "01-mine.conflist", delegates={})

    assert net_d.only_fault("multus-copy").cure.startswith("correct it")


@pytest.mark.parametrize("plugins", [7, [7], {"type": "bridge"}, [{"type": ["linen"]}], None])
def test_odd_copy(net_d: WithMultus, plugins: Any) -> None:
    """A copy of our network's name with whatever in it only differs."""
    net_d.multus(network() | {"plugins": plugins})

    assert "plugins" in net_d.only_fault("multus-copy").what


def test_file_that_is_no_json(net_d: WithMultus) -> None:
    """A file of Multus' that is cut off is told as any other, by line and column."""
    path = net_d.write("00-multus.conflist", '{"plugins": [{"type": "multus", "delegates": [')

    assert net_d.faults()["readable"].where.startswith(f"{path}:1:")
    assert "multus-copy" not in net_d.faults()


def test_name_that_multus_takes_over(net_d: WithMultus) -> None:
    """Multus' file may have the name of the network that it passes pods on to."""
    net_d.write("00-multus.conflist", multus_file(network()) | {"name": "first"})

    assert net_d.faults() == {}
