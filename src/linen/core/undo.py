# SPDX-License-Identifier: Apache-2.0
"""How to take back what Open vSwitch refused, and nothing that others rely on by then.

What it did not refuse stays: it is what the next ADD needs, and another ADD may have seen it work.
Each row that is changed again is guarded: whoever has changed it meanwhile keeps it so.
"""

from __future__ import annotations

from linen.core import model, plan
from linen.core.notation import is_, select, to_map, to_set, to_uuid, uuids
from linen.core.transaction import mutation, unless_changed, update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from linen.light.json import Json


def find_operations(
    seen: model.Observed, done: Sequence[plan.Step]
) -> Generator[list[Json], list[Json], list[Json]]:
    """A conversation with OVSDB that ends in the operations of one transaction; none: no need.

    `done`: the steps that were carried out, in their order; what they did not bring about is left
    alone.
    """
    operations: list[Json] = []
    added = {step.name for step in done if isinstance(step, plan.AddTunnel)}
    changed = {step.interface.uuid: step for step in done if isinstance(step, plan.ChangeTunnel)}
    own = [tunnel for tunnel in seen.tunnels if tunnel.name in added]
    removed: list[Json] = []
    for tunnel in seen.tunnels:
        interface = tunnel.interface
        if interface is None or not interface.refusal:
            continue
        if interface.uuid in changed:
            operations += _restored(interface, changed[interface.uuid])
        elif tunnel.name in added:
            operations.append(_guard(interface))
            removed.append(to_uuid(tunnel.uuid))
    if removed:
        operations.append(mutation("Bridge", [], ["ports", "delete", to_set(removed)]))
    bridge = seen.bridge
    is_made = any(isinstance(step, plan.CreateBridge) for step in done)
    if bridge is not None and is_made and bridge.interface and bridge.interface.refusal:
        operations += yield from _without_bridge(bridge, own)
    return operations


def _guard(interface: model.ObservedInterface) -> Json:
    options = {"options": to_map(interface.options)}
    return unless_changed("Interface", interface.uuid, options)


def _restored(interface: model.ObservedInterface, step: plan.ChangeTunnel) -> list[Json]:
    """A tunnel as it was before a step changed it."""
    before = {"options": to_map(step.interface.options), "bfd": to_map(step.interface.bfd)}
    return [
        _guard(interface),
        update("Interface", interface.uuid, before),
        update("Port", step.observed.uuid, {"protected": step.observed.protected}),
    ]


def _without_bridge(
    bridge: model.ObservedBridge, own: Sequence[model.ObservedTunnel]
) -> Generator[list[Json], list[Json], list[Json]]:
    """The end of an OVS bridge that cannot be made, unless others have put something on it."""
    row = is_("_uuid", to_uuid(bridge.uuid))
    bridges, ports = yield [
        select("Bridge", row, ("name", "ports")),
        select("Port", [], ("_uuid", "name")),
    ]
    if not bridges["rows"]:
        return []
    (found,) = bridges["rows"]
    names = {port["_uuid"][1]: port["name"] for port in ports["rows"]}
    held = uuids(found["ports"])
    if {names[uuid] for uuid in held} - {found["name"], *(tunnel.name for tunnel in own)}:
        return []
    return [
        unless_changed("Bridge", bridge.uuid, {"ports": to_set(map(to_uuid, held))}),
        mutation("Open_vSwitch", [], ["bridges", "delete", to_set([to_uuid(bridge.uuid)])]),
    ]
