# SPDX-License-Identifier: Apache-2.0
"""The daemon's settings: where they come from, and what is said about wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.settings.table import SettingsInvalid, load

if TYPE_CHECKING:
    from pathlib import Path


def test_defaults() -> None:
    """Without any setting the daemon works for Kubernetes, as a mesh."""
    found = load({}, {}, None)

    assert found.peers is None
    assert found.overlay.topology == "mesh"
    assert found.listen == ("127.0.0.1", 9474)
    assert str(found.conflist) == "/etc/cni/net.d/linen.conflist"
    assert found.given == frozenset()


def test_order_of_places(tmp_path: Path) -> None:
    """The command line counts more than the environment, and that more than the file."""
    file = tmp_path / "flaxd.yaml"
    file.write_text("vni: 1\nmtu: 1400\ntopology: star\n")

    found = load({"vni": "3"}, {"LINEN_VNI": "2", "LINEN_MTU": "1350"}, file)

    assert (found.overlay.vni, found.mtu, found.overlay.topology) == (3, 1350, "star")
    assert found.given == {"vni", "topology"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("node", "Node_1", "must be a node's name"),
        ("vtep-ip", "node1", "is not an IPv4 or IPv6 address"),
        ("vtep-family", "dual", "must be one of ipv4, ipv6"),
        ("cluster-range", "10.244.0.1/16", "host bits set"),
        ("cluster-range", "10.0.0.0/16,10.1.0.0/16", "one of each"),
        ("mtu", "9", "must be from 576 to 65535"),
        ("vni", "0", "must be a whole number from 1 to 16777215"),
        ("topology", "ring", "must be one of star, mesh"),
        ("listen", "9474", "must be ADDRESS:PORT"),
        ("listen", "localhost:9474", "must be ADDRESS:PORT"),
        ("bfd-interval", "10", "must be 0 (off) or from 50 to 60000 ms"),
        ("controller", "[x", "must be HOST:PORT"),
        ("log-level", "loud", "must be one of debug"),
        ("network", "a b", "must begin with a letter or digit and have only"),
        ("linux-bridge", "a" * 16, "1 to 15 bytes"),
    ],
)
def test_wrong_values(name: str, text: str, said: str) -> None:
    """A wrong setting's fault says which it is and what would be right."""
    with pytest.raises(SettingsInvalid) as caught:
        load({name: text}, {}, None)

    (fault,) = caught.value.faults
    assert name in fault
    assert said in fault


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Faults from every place come in one answer, each with its place."""
    file = tmp_path / "flaxd.yaml"
    file.write_text("vnii: 1\nmtu: big\n")
    arguments = {"vni": "-1", "topology": "mesh", "stp": "rstp"}

    with pytest.raises(SettingsInvalid) as caught:
        load(arguments, {"LINEN_LISTEN": "x"}, file)

    text = "\n".join(caught.value.faults)
    for part in (
        "vnii: unknown setting; did you mean vni?",
        f"{file}: mtu",
        "--vni",
        "LINEN_LISTEN",
    ):
        assert part in text
    assert "exclude each other" in text


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("LINEN_VTEP_INTERFCE", "did you mean LINEN_VTEP_INTERFACE?"),
        ("LINEN_vni", "did you mean LINEN_VNI?"),
        ("LINEN_SOMETHING_QUITE_DIFFERENT", "known are LINEN_NODE, LINEN_PEERS, "),
        ("LINEN_", "known are LINEN_NODE"),
    ],
)
def test_misspelt_variables(variable: str, said: str) -> None:
    """A variable of ours that is no setting is a fault, which says what may have been meant."""
    with pytest.raises(SettingsInvalid) as caught:
        load({}, {variable: "eth1"}, None)

    (fault,) = caught.value.faults
    assert fault.startswith(f"{variable}: unknown setting; {said}")


def test_variables_of_others() -> None:
    """Variables that do not begin as ours are nobody's business here."""
    assert load({}, {"VNI": "x", "MY_LINEN_VNI": "y", "LINENS": "z"}, None).given == set()


def test_words_that_yaml_takes_for_something_else(tmp_path: Path) -> None:
    """`off` and a node called 1 mean what they say, in the file as on the command line."""
    file = tmp_path / "flaxd.yaml"
    file.write_text("stp: off\nnode: 1\ncontroller: [10.0.0.1:6653]\n")

    found = load({}, {}, file)

    assert (found.overlay.stp, found.node) == ("off", "1")
    assert found.overlay.controllers == ["tcp:10.0.0.1:6653"]


@pytest.mark.parametrize("content", ["[", "- a\n- b\n", "\0"])
def test_unusable_file(tmp_path: Path, content: str) -> None:
    """A settings file that is no mapping is a fault that names it."""
    file = tmp_path / "flaxd.yaml"
    file.write_text(content)

    with pytest.raises(SettingsInvalid, match=str(file)):
        load({}, {}, file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"topology": "flow", "controller": "10.0.0.1"}, "topology flow and controller exclude"),
        ({"topology": "flow", "stp": "rstp"}, "topology flow and stp rstp exclude"),
        ({"broadcast": "replicate"}, "broadcast replicate is for topology flow, mesh delivers"),
        ({"topology": "flow", "broadcast": "flood"}, "must be one of drop, replicate"),
    ],
)
def test_what_flow_excludes(arguments: dict[str, str], said: str) -> None:
    """What cannot be together with topology flow, or not without it, is told."""
    with pytest.raises(SettingsInvalid, match=said):
        load(arguments, {}, None)


@pytest.mark.parametrize(
    "arguments", [{"linux-bridge": "br0"}, {"linux-bridge": "blue", "ovs-bridge": "blue"}]
)
def test_one_name_for_both_bridges(arguments: dict[str, str]) -> None:
    """A Linux bridge and an OVS bridge of one name are a fault that names both settings."""
    with pytest.raises(SettingsInvalid, match="linux-bridge and ovs-bridge"):
        load(arguments, {}, None)


def test_flow() -> None:
    """Topology flow drops packets to many unless it is told to replicate them."""
    assert load({"topology": "flow"}, {}, None).broadcast == "drop"
    chosen = load({"topology": "flow", "broadcast": "replicate"}, {}, None)
    assert chosen.broadcast == "replicate"


def test_probes_need_gateways() -> None:
    """Without gateways there is nothing to probe: it is off, and asking for it is a fault."""
    assert load({"gateway": "none"}, {}, None).probe_interval == 0
    with pytest.raises(SettingsInvalid, match="probe-interval needs gateways"):
        load({"gateway": "none", "probe-interval": "10"}, {}, None)
