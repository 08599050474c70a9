# SPDX-License-Identifier: Apache-2.0
"""What a network wants of Open vSwitch."""

from __future__ import annotations

import pytest

from linen.core import desired, model


def spec_of(**options: object) -> model.OverlaySpec:
    """The spec of a network with these options and two peers."""
    fields: dict[str, object] = {"vteps": ["10.245.2.2", "10.245.2.3"]} | options
    parsed = model.OverlayOptions(**fields)  # type: ignore[arg-type]
    return desired.overlay_spec(parsed, network="blue", maker="plugin")


@pytest.mark.parametrize(
    ("topology", "is_master", "stp", "protected"),
    [
        ("star", True, "off", False),
        ("star", False, "off", True),
        ("mesh", True, "off", True),
        ("mesh", False, "off", True),
        ("star", True, "rstp", False),
        ("star", False, "rstp", False),
        ("star", False, "stp", False),
    ],
)
def test_which_tunnels_forward_to_one_another(
    topology: str,
    is_master: bool,  # noqa: FBT001
    stp: str,
    protected: bool,  # noqa: FBT001
) -> None:
    """Only a star's master forwards between tunnels, unless a spanning tree guards them all."""
    spec = spec_of(topology=topology, is_master=is_master, stp=stp)

    assert [protected] * 2 == [tunnel.protected for tunnel in spec.tunnels]


def test_original_tunnel() -> None:
    """Without further options a tunnel has the two options of the original, and no more."""
    first, _ = spec_of().tunnels

    assert first.options == {"key": "flow", "remote_ip": "10.245.2.2"}


def test_all_tunnel_options() -> None:
    """The network's id, its UDP port and options for Open vSwitch go into each tunnel."""
    first, _ = spec_of(vni=7, dst_port=8472, tunnel_options={"csum": "true"}).tunnels

    expected = {"key": "7", "dst_port": "8472", "csum": "true", "remote_ip": "10.245.2.2"}
    assert expected == first.options


def test_no_tunnel_to_itself() -> None:
    """All nodes can share one list of VTEPs: a node's own address is left out."""
    options = model.OverlayOptions(vteps=["10.245.2.2", "10.245.2.3"])

    spec = desired.overlay_spec(
        options, network="blue", maker="plugin", own_addresses={"10.245.2.2"}
    )

    assert [tunnel.remote for tunnel in spec.tunnels] == ["10.245.2.3"]


@pytest.mark.parametrize(("topology", "mode"), [("mesh", "standalone"), ("flow", "secure")])
def test_a_bridge_with_rules_is_no_learning_switch(topology: str, mode: str) -> None:
    """In topology flow the OVS bridge does nothing by itself, so nothing passes without rules."""
    spec = spec_of(topology=topology, vteps=[model.REMOTE_BY_RULE], vni=7)

    assert spec.fail_mode == mode


def test_the_tunnel_of_topology_flow() -> None:
    """One tunnel leads to all nodes, with the network's own id, and forwards to no other."""
    (tunnel,) = spec_of(topology="flow", vteps=[model.REMOTE_BY_RULE], vni=7).tunnels

    assert tunnel.options == {"key": "7", "remote_ip": "flow"}
    assert tunnel.names[0] == "vxifflow"
    assert not tunnel.protected


@pytest.mark.parametrize(
    ("segment", "size"),
    [
        (["10.244.0.0/16"], 65536),
        (["10.244.1.10/16"], 65536),
        (["10.0.0.0/8"], 131072),
        (["10.244.0.0/19"], None),
        (["10.244.0.0/18"], 16384),
        (["10.244.0.0/16", "fd00:10:244::/48"], 65536),
        (["fd00:10:244::/48"], 131072),
        (["10.244.1.10/32"], None),
        (["10.244.1.10", "10.244.1.10/", "10.244.1.10/x", "10.244.1.10/1111"], None),
        ([], None),
    ],
)
def test_room_for_the_macs_of_a_segment(segment: list[str], size: int | None) -> None:
    """A bridge can remember a MAC for each address, up to a limit; nothing below the default."""
    options = model.OverlayOptions(topology="mesh")

    spec = desired.overlay_spec(options, network="blue", maker="plugin", segment=segment)

    assert spec.mac_table_size == size


def test_flow_learns_no_macs() -> None:
    """In topology flow the table of MACs is left as it is."""
    options = model.OverlayOptions(topology="flow")

    spec = desired.overlay_spec(options, network="b", maker="m", segment=["10.244.0.0/16"])

    assert spec.mac_table_size is None
