# SPDX-License-Identifier: Apache-2.0
"""The plan: the ordered difference between what is wanted and what is there.

Pure: `difference(spec, observed, …)` names the steps (`linen.core.plan`).
An empty plan means that nothing is left to do.
Only what carries our mark is changed or removed; a bridge that somebody else made keeps its
settings, and gets only what it was asked to carry: our tunnels and controllers. Additions come
before removals, so that no peer is cut off in between.
"""

from __future__ import annotations

from linen.core import errors, explain, model, obstacles, plan
from linen.core.notation import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from linen.light.json import Json

    Kept = dict[str, tuple[model.ObservedTunnel, model.ObservedInterface]]  # by peer

ROOT = select("Open_vSwitch", [], ("ovs_version",))  # the row that refers to all OVS bridges
NO_OBSTACLES = model.Obstacles(set(), {})


def difference(
    spec: model.OverlaySpec,
    observed: model.Observed,
    found: model.Obstacles = NO_OBSTACLES,
) -> list[plan.Step]:
    """The steps from `observed` to `spec`.

    Raises `Conflict` where they would touch what isn't ours.
    """
    return _steps(spec, observed, _kept(spec, observed), found)


def _steps(
    spec: model.OverlaySpec, observed: model.Observed, kept: Kept, found: model.Obstacles
) -> list[plan.Step]:
    steps: list[plan.Step] = []
    if observed.bridge is None:
        _refuse_taken_name(spec, observed)
        steps.append(plan.CreateBridge(spec))
    else:
        _refuse_conflicts(spec, observed.bridge)
        steps += _bridge_steps(spec, observed.bridge)
    steps += _additions(spec, kept, found)
    steps += _controller_additions(spec, observed.bridge)
    steps += _tunnel_changes(spec, kept)
    steps += _tunnel_removals(observed.tunnels, kept)
    steps += _controller_removals(spec, observed.bridge)
    return steps


def missing_tunnels(spec: model.OverlaySpec, observed: model.Observed) -> list[model.TunnelSpec]:
    """The tunnels of `spec` that no tunnel of ours serves."""
    return _missing(spec, _kept(spec, observed))


def _missing(spec: model.OverlaySpec, kept: Kept) -> list[model.TunnelSpec]:
    if len(kept) == len(spec.tunnels):
        return []  # as nearly always, so that with a thousand tunnels no time goes into it
    return [tunnel for tunnel in spec.tunnels if tunnel.remote not in kept]


def find_plan(
    spec: model.OverlaySpec, observed: model.Observed
) -> Generator[list[Json], list[Json], plan.Plan]:
    """A conversation with OVSDB that ends in the plan whose steps are the `difference`.

    Raises `Conflict` as that does, and where the OVS bridge is somebody's uplink, and not yet our
    network's. What is in the way of missing tunnels is asked for first; where none is missing, on
    an OVS bridge of ours, nothing is asked. Raises `Unavailable` where the OVS bridge is to be made
    in an OVSDB that nothing can be made in.
    """
    kept = _kept(spec, observed)
    missing = _missing(spec, kept)
    found = NO_OBSTACLES
    if missing:
        own_names = {tunnel.name for tunnel in observed.tunnels}
        found = yield from obstacles.find(spec, missing, own_names)
    bridge = observed.bridge
    if bridge is None:
        (roots,) = yield [ROOT]
        _refuse_uninitialized(roots["rows"])
    if bridge is not None and bridge.network is None and not observed.tunnels:
        # Also without tunnels to make: on the pods' Linux bridge it would be hung nevertheless.
        devices = yield from obstacles.devices_on(spec.bridge)
        _refuse_uplink(spec, devices)
    return plan.Plan(spec, observed, _steps(spec, observed, kept, found))


def _kept(spec: model.OverlaySpec, observed: model.Observed) -> Kept:
    """The tunnels of ours that serve `spec`: sound, rightly named, on its OVS bridge."""
    wanted = {tunnel.remote: tunnel for tunnel in spec.tunnels}
    kept: Kept = {}
    if observed.bridge is None:
        return kept
    for tunnel in observed.tunnels:
        interface = tunnel.interface
        if interface is None or interface.type != "vxlan" or tunnel.bridge != spec.bridge:
            continue
        remote = interface.options.get("remote_ip", "")
        if remote in wanted and wanted[remote].may_be_named(tunnel.name):
            kept.setdefault(remote, (tunnel, interface))
    return kept


def _refuse_taken_name(spec: model.OverlaySpec, observed: model.Observed) -> None:
    """Names of interfaces are unique in all of OVSDB, so the bridge could never be made."""
    if observed.is_name_taken:
        raise errors.Conflict(
            f"{spec.bridge} is a port of another OVS bridge (or the fake bridge of a VLAN):"
            f" `ovs-vsctl iface-to-br {spec.bridge}` names it",
            "give the network another ovs.ovsBridge (flaxd's ovs-bridge), or remove that port",
        )


def _refuse_conflicts(spec: model.OverlaySpec, bridge: model.ObservedBridge) -> None:
    _refuse_other_vni(spec, bridge)
    if spec.datapath_type is not None and spec.datapath_type != bridge.datapath_type:
        raise errors.Conflict(
            f"OVS bridge {spec.bridge} has datapath_type {bridge.datapath_type or 'system'},"
            f" the configuration asks for {spec.datapath_type or 'system'}",
            "changing it cuts off every pod of the node, so it is left to you:"
            f" `ovs-vsctl set bridge {spec.bridge} datapath_type={spec.datapath_type or 'system'}`,"
            " or change ovs.datapathType",
        )
    if spec.fail_mode == model.FAIL_SECURE and bridge.network != spec.network:
        raise errors.Conflict(
            f"OVS bridge {spec.bridge} isn't Linen's network {spec.network!r}, and topology flow"
            " needs one whose rules are its own",
            "give the network its own ovs.ovsBridge",
        )
    if bridge.network is None and bridge.stp != model.STP_OFF and _has_protected_pair(spec):
        raise errors.Conflict(
            f"OVS bridge {spec.bridge} isn't Linen's and has {bridge.stp}_enable=true,"
            " which together with protected tunnels cuts nodes off",
            f"`ovs-vsctl set bridge {spec.bridge} {bridge.stp}_enable=false`,"
            " or give the network its own ovs.ovsBridge",
        )


def _refuse_uninitialized(roots: Sequence[Json]) -> None:
    """A bridge that the table's one row does not refer to is gone as soon as it is made."""
    if not roots:
        raise errors.Unavailable(
            "OVSDB's table Open_vSwitch has no row, so no OVS bridge can be made",
            "`ovs-vsctl init`, or let Open vSwitch's own service start ovsdb-server",
        )


def _refuse_uplink(spec: model.OverlaySpec, devices: Sequence[str]) -> None:
    """A bridge that is a node's way out would, on the pods' Linux bridge, lose its address.

    And with one on two nodes each broadcast would go round for ever: out by the tunnel, back by the
    network card.
    """
    if not devices:
        return
    raise errors.Conflict(
        f"OVS bridge {spec.bridge} isn't Linen's and has the host's {', '.join(devices)} on it:"
        " pods and tunnels there could cut the node off, or send broadcasts round for ever",
        "give the network its own ovs.ovsBridge (flaxd's ovs-bridge)",
    )


def _refuse_other_vni(spec: model.OverlaySpec, bridge: model.ObservedBridge) -> None:
    """Two networks may share an OVS bridge only as one: with the same VNI."""
    if bridge.network in (None, spec.network) or bridge.vni == _vni_mark(spec):
        return
    raise errors.Conflict(
        f"OVS bridge {spec.bridge} belongs to network {bridge.network!r} with vni"
        f" {bridge.vni or 'none'}; network {spec.network!r} has vni {_vni_mark(spec) or 'none'}",
        "networks that are to be kept apart need an OVS bridge each: set ovs.ovsBridge",
    )


def _has_protected_pair(spec: model.OverlaySpec) -> bool:
    return sum(tunnel.protected for tunnel in spec.tunnels) > 1


def _vni_mark(spec: model.OverlaySpec) -> str | None:
    return None if spec.vni is None else str(spec.vni)


def _bridge_steps(spec: model.OverlaySpec, bridge: model.ObservedBridge) -> list[plan.Step]:
    steps: list[plan.Step] = []
    if bridge.network != spec.network:
        return steps
    settings: dict[str, str | bool] = {}
    if bridge.fail_mode != spec.fail_mode:
        settings["fail_mode"] = spec.fail_mode
    if bridge.stp != spec.stp:
        settings.update(plan.stp_settings(spec.stp))
    if settings:
        steps.append(plan.SetBridge(bridge, settings))
    if bridge.vni != _vni_mark(spec):
        steps.append(plan.SetVni(bridge, _vni_mark(spec)))
    if spec.mac_table_size is not None and bridge.mac_table_size is None:
        steps.append(plan.SetMacTableSize(bridge, spec.mac_table_size))
    interface = bridge.interface
    if interface is not None and spec.mtu is not None and interface.mtu_request != spec.mtu:
        steps.append(plan.SetMtu(interface, spec.mtu))
    return steps


def _additions(spec: model.OverlaySpec, kept: Kept, found: model.Obstacles) -> list[plan.AddTunnel]:
    missing = _missing(spec, kept)
    if not missing:
        return []
    steps = []
    names = found.taken | {tunnel.name for tunnel, _ in kept.values()}
    for tunnel in missing:
        if tunnel.remote in found.present:
            _refuse_elsewhere(spec, tunnel, *found.present[tunnel.remote])
            continue
        name = _free_name(tunnel, names)
        names.add(name)
        steps.append(plan.AddTunnel(name, tunnel))
    return steps


def _refuse_elsewhere(
    spec: model.OverlaySpec, tunnel: model.TunnelSpec, port: str, bridge: str
) -> None:
    """Somebody else's tunnel serves as well as one of ours, but only on the same OVS bridge."""
    if bridge != spec.bridge:
        raise errors.Conflict(
            f"port {port} on OVS bridge {bridge} is a tunnel to {explain.where(tunnel.remote)} with"
            f" key {tunnel.options['key']} already; Open vSwitch allows one for the whole node",
            f"give network {spec.network!r} an ovs.vni of its own, or remove that port",
        )


def _free_name(tunnel: model.TunnelSpec, taken: set[str]) -> str:
    for name in tunnel.names:
        if name not in taken:
            return name
    raise errors.Conflict(
        f"no free port name for the tunnel to {tunnel.remote}: {' and '.join(tunnel.names)} exist",
        "remove one of these ports if nothing uses it: `ovs-vsctl del-port NAME`",
    )


def _tunnel_changes(spec: model.OverlaySpec, kept: Kept) -> list[plan.ChangeTunnel]:
    return [
        plan.ChangeTunnel(*kept[tunnel.remote], tunnel)
        for tunnel in spec.tunnels
        if tunnel.remote in kept and _differs(*kept[tunnel.remote], tunnel)
    ]


def _tunnel_removals(
    observed: Sequence[model.ObservedTunnel], kept: Kept
) -> list[plan.RemoveTunnel]:
    if len(observed) == len(kept):
        return []
    kept_ports = {tunnel.uuid for tunnel, _ in kept.values()}
    return [plan.RemoveTunnel(tunnel) for tunnel in observed if tunnel.uuid not in kept_ports]


def _differs(
    observed: model.ObservedTunnel,
    interface: model.ObservedInterface,
    tunnel: model.TunnelSpec,
) -> bool:
    return (
        interface.options != tunnel.options
        or observed.protected != tunnel.protected
        or tunnel.bfd not in (None, interface.bfd)
    )


def _controller_additions(
    spec: model.OverlaySpec, bridge: model.ObservedBridge | None
) -> list[plan.AddController]:
    attached = {controller.target for controller in bridge.controllers} if bridge else set()
    return [plan.AddController(target) for target in spec.controllers if target not in attached]


def _controller_removals(
    spec: model.OverlaySpec, bridge: model.ObservedBridge | None
) -> list[plan.RemoveController]:
    """Controllers of ours that are no longer wanted, and second rows of one that is."""
    steps: list[plan.RemoveController] = []
    if bridge is None:
        return steps
    seen = {controller.target for controller in bridge.controllers if not controller.owned}
    for controller in bridge.controllers:
        if not controller.owned:
            continue
        if controller.target not in spec.controllers or controller.target in seen:
            steps.append(plan.RemoveController(controller))
        seen.add(controller.target)
    return steps
