# SPDX-License-Identifier: Apache-2.0
"""The difference between wanted and seen, judged by the sentences that people read."""

from __future__ import annotations

from typing import Any

import pytest

from linen.core import desired, errors, explain, model, plan, planner

MASTER = model.OverlayOptions(
    is_master=True, vteps=["10.245.2.2", "10.245.2.3"], controllers=["tcp:192.168.2.100:6653"]
)


def spec_of(options: model.OverlayOptions = MASTER, **more: Any) -> model.OverlaySpec:
    """The spec of network blue."""
    return desired.overlay_spec(options, network="blue", maker="plugin", **more)


def bridge_of(spec: model.OverlaySpec, **changes: Any) -> model.ObservedBridge:
    """The OVS bridge as it is once `spec` holds, but for `changes`."""
    fields: dict[str, Any] = {
        "uuid": "b",
        "network": spec.network,
        "vni": None if spec.vni is None else str(spec.vni),
        "datapath_type": spec.datapath_type or "",
        "fail_mode": spec.fail_mode,
        "stp": spec.stp,
        "controllers": [
            model.ObservedController(uuid=f"c{target}", target=target, owned=True)
            for target in spec.controllers
        ],
        "interface": interface_of({}, kind="internal", mtu_request=spec.mtu),
    }
    return model.ObservedBridge(**fields | changes)


def interface_of(options: dict[str, str], kind: str = "vxlan", **changes: Any) -> Any:
    """An interface that ovs-vswitchd has dealt with."""
    fields: dict[str, Any] = {"uuid": "i", "options": options, "ofport": 1, "error": ""}
    return model.ObservedInterface(type=kind, **fields | changes)


def tunnel_of(tunnel: model.TunnelSpec, **changes: Any) -> model.ObservedTunnel:
    """A tunnel of ours as it is once `tunnel` holds, but for `changes`."""
    fields: dict[str, Any] = {
        "uuid": f"p{tunnel.remote}",
        "name": tunnel.names[0],
        "bridge": "br0",
        "protected": tunnel.protected,
        "interface": interface_of(tunnel.options),
    }
    return model.ObservedTunnel(**fields | changes)


def seen_as(spec: model.OverlaySpec) -> model.Observed:
    """What is observed once `spec` holds."""
    return model.Observed(bridge_of(spec), [tunnel_of(tunnel) for tunnel in spec.tunnels])


def faults(spec: model.OverlaySpec, seen: model.Observed, *more: Any) -> list[str]:
    """The plan in words."""
    return explain.faults(spec.bridge, planner.difference(spec, seen, *more))


def test_nothing_to_do() -> None:
    """Where all is as wanted the plan is empty."""
    spec = spec_of(mtu=1400)

    assert faults(spec, seen_as(spec)) == []


def test_room_for_macs_is_made_once() -> None:
    """A table of MACs is made larger where nobody has set its size, and that is no fault."""
    spec = spec_of(segment=["10.244.0.0/16"])
    seen = seen_as(spec)

    (step,) = planner.difference(spec, seen)
    assert isinstance(step, plan.SetMacTableSize)
    assert step.size == 65536
    assert explain.faults("br0", [step]) == []


@pytest.mark.parametrize("changes", [{"mac_table_size": "100"}, {"network": None}])
def test_room_for_macs_is_not_ours_to_change(changes: dict[str, Any]) -> None:
    """A size that somebody has set stays, and so does a bridge that somebody else has made."""
    spec = spec_of(segment=["10.244.0.0/16"])
    seen = seen_as(spec)
    seen.bridge = bridge_of(spec, **changes)

    assert planner.difference(spec, seen) == []


def test_fresh_host() -> None:
    """On a host without the OVS bridge all of it is made."""
    assert faults(spec_of(), model.Observed(None, [])) == [
        "OVS bridge br0 is missing",
        "the tunnel to 10.245.2.2 (port vxif10_245_2_2) is missing on OVS bridge br0",
        "the tunnel to 10.245.2.3 (port vxif10_245_2_3) is missing on OVS bridge br0",
        "controller tcp:192.168.2.100:6653 is not attached to OVS bridge br0",
    ]


def test_additions_before_removals() -> None:
    """A peer that changed its address gets the new tunnel before it loses the old one."""
    seen = seen_as(spec_of())
    moved = model.OverlayOptions(is_master=True, vteps=["10.245.2.2", "10.245.2.9"])

    assert faults(spec_of(moved), seen) == [
        "the tunnel to 10.245.2.9 (port vxif10_245_2_9) is missing on OVS bridge br0",
        "tunnel vxif10_245_2_3 to 10.245.2.3 is ours and not wanted (any more)",
        "controller tcp:192.168.2.100:6653 on OVS bridge br0 is ours and not wanted (any more)",
    ]


def test_settings_changed_by_hand() -> None:
    """Settings, options and protection that somebody changed are set back."""
    spec = spec_of(mtu=1400)
    first, second = spec.tunnels
    bridge = bridge_of(spec, fail_mode="secure", stp="stp")
    bridge.interface = interface_of({}, kind="internal", mtu_request=None)
    changed = interface_of(first.options | {"key": "9"})
    seen = model.Observed(
        bridge, [tunnel_of(first, interface=changed), tunnel_of(second, protected=True)]
    )

    assert faults(spec, seen) == [
        (
            "OVS bridge br0 has fail_mode=secure, spanning tree stp instead of"
            " fail_mode=standalone, stp_enable=false, rstp_enable=false"
        ),
        "OVS bridge br0 asks for no MTU where the Linux bridge has 1400",
        (
            "tunnel vxif10_245_2_2 on OVS bridge br0 has options {key=9, remote_ip=10.245.2.2}"
            " instead of {key=flow, remote_ip=10.245.2.2}"
        ),
        "tunnel vxif10_245_2_3 on OVS bridge br0 has protected=true instead of false",
    ]


def test_second_controller_row() -> None:
    """A second row for one controller, as the original left at each ADD, goes if it is ours."""
    spec = spec_of()
    target = spec.controllers[0]
    rows = [
        model.ObservedController(uuid=uuid, target=target, owned=True) for uuid in ("one", "two")
    ]
    seen = seen_as(spec)
    seen.bridge = bridge_of(spec, controllers=rows)

    steps = planner.difference(spec, seen)

    assert [plan.RemoveController(rows[1])] == steps


def test_foreign_bridge_keeps_its_settings() -> None:
    """On a bridge that somebody else made, only tunnels and controllers are added."""
    spec = spec_of(mtu=1400)
    seen = seen_as(spec)
    seen.bridge = bridge_of(spec, network=None, fail_mode="secure", stp="stp")

    assert faults(spec, seen) == []


def test_foreign_tunnel_serves() -> None:
    """A peer that somebody else's tunnel on our bridge leads to gets no second one."""
    spec = spec_of()
    obstacles = model.Obstacles(set(), {"10.245.2.2": ("vx0", "br0"), "10.245.2.3": ("x", "br0")})
    seen = model.Observed(bridge_of(spec), [])

    assert faults(spec, seen, obstacles) == []


def test_taken_name() -> None:
    """Where another port has the tunnel's name, the tunnel takes its second one."""
    spec = spec_of()
    first, second = spec.tunnels
    obstacles = model.Obstacles({first.names[0]}, {})

    steps = planner.difference(
        spec, model.Observed(bridge_of(spec), [tunnel_of(second)]), obstacles
    )

    assert [plan.AddTunnel(first.names[1], first)] == steps


# Two addresses whose hashes, and so first names, are the same.
TWINS = ["fd00:6240:4e0f:6c82:4a0f::1", "fd00:68d0:666e:5207:5056::1"]


@pytest.mark.parametrize("known", [0, 1, 2], ids=["both new", "second new", "none new"])
def test_addresses_with_one_hash(known: int) -> None:
    """Of two peers whose first names are alike, the later one takes its second name."""
    spec = spec_of(model.OverlayOptions(topology="mesh", vteps=TWINS))
    first, second = spec.tunnels
    assert first.names[0] == second.names[0]
    there = [tunnel_of(first), tunnel_of(second, name=second.names[1])][:known]

    steps = planner.difference(spec, model.Observed(bridge_of(spec), there))

    wanted = [plan.AddTunnel(first.names[0], first), plan.AddTunnel(second.names[1], second)]
    assert steps == wanted[known:]


@pytest.mark.parametrize(
    ("options", "bridge", "text"),
    [
        ({"vni": 8}, {"network": "green", "vni": "7"}, "belongs to network 'green' with vni 7"),
        ({"vni": 8}, {"network": "green", "vni": None}, "belongs to network 'green' with vni none"),
        ({"datapath_type": "netdev"}, {"datapath_type": ""}, "has datapath_type system"),
        ({"topology": "mesh"}, {"network": None, "stp": "stp"}, "stp_enable=true"),
    ],
)
def test_conflicts(options: dict[str, Any], bridge: dict[str, Any], text: str) -> None:
    """What would touch another network or cut nodes off is refused, and the text says why."""
    spec = spec_of(model.OverlayOptions(vteps=["10.0.0.1", "10.0.0.2"], **options))
    seen = seen_as(spec)
    seen.bridge = bridge_of(spec, **bridge)

    with pytest.raises(errors.Conflict) as caught:
        planner.difference(spec, seen)

    assert text in caught.value.message
    assert caught.value.details


def test_flow_needs_a_bridge_of_its_own() -> None:
    """Rules of ours on somebody else's OVS bridge would undo what it is for: it is refused."""
    options = model.OverlayOptions(topology="flow", vteps=[model.REMOTE_BY_RULE])
    spec = spec_of(options)
    seen = model.Observed(bridge_of(spec, network=None), [])

    with pytest.raises(errors.Conflict, match=r"topology flow needs one whose rules are its own"):
        planner.difference(spec, seen)


def test_from_mesh_to_flow() -> None:
    """A bridge of a mesh gets the tunnel to all nodes, loses the others, and stops flooding."""
    mesh = spec_of(model.OverlayOptions(topology="mesh", vteps=["10.245.2.2"]))
    flow = spec_of(model.OverlayOptions(topology="flow", vteps=[model.REMOTE_BY_RULE]))

    assert faults(flow, seen_as(mesh)) == [
        "OVS bridge br0 has fail_mode=standalone, spanning tree off instead of fail_mode=secure",
        "the tunnel to all nodes (port vxifflow) is missing on OVS bridge br0",
        "tunnel vxif10_245_2_2 to 10.245.2.2 is ours and not wanted (any more)",
    ]


def test_tunnel_of_another_network() -> None:
    """Open vSwitch has one tunnel for a peer and key: a second network is told to take a vni."""
    obstacles = model.Obstacles(set(), {"10.245.2.2": ("vxif10_245_2_2", "br1")})

    with pytest.raises(errors.Conflict, match="port vxif10_245_2_2 on OVS bridge br1"):
        planner.difference(spec_of(), model.Observed(None, []), obstacles)
