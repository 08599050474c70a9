# SPDX-License-Identifier: Apache-2.0
"""From a plan to one OVSDB transaction that is right even if somebody else writes at the same time.

Two things guard it, so that a race is lost whole and the loser reads again: the unique indexes on
the names of bridges, ports and interfaces ("constraint violation"), and one `wait` operation for
what has no index, the presence of the OVS bridge and its list of controllers ("timed out").
"""

from __future__ import annotations

from linen.core import model, naming, observed, plan
from linen.core.notation import is_, new_row, select, to_map, to_set, to_uuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from linen.light.json import Json

# What OVSDB answers when another client was quicker (RFC 7047, sections 3.1, 5.2.6 and 5.2.10).
RACE_LOST = ("constraint violation", "timed out", "not owner")


def operations(planned: plan.Plan) -> list[Json]:
    """The operations that carry out the steps of a plan."""
    batch = _Batch(planned.spec, planned.seen.bridge)
    for step in planned.steps:
        _WRITERS[type(step)](batch, step)
    return batch.finish()


def until_dealt_with(interfaces: Sequence[str], milliseconds: int) -> list[Json]:
    """The operations that last until each interface (by UUID) has a port number, or -1."""
    unknown = {"ofport": to_set([])}
    return [
        _wait("Interface", is_("_uuid", to_uuid(uuid)), "!=", [unknown], milliseconds)
        for uuid in interfaces
    ]


def announced(results: Sequence[Json]) -> int | None:
    """The number that ovs-vswitchd has in `cur_cfg` once it has looked; None: it was not told to.

    `results`: those of `operations`.
    """
    rows = results[-1].get("rows")
    return rows[0]["next_cfg"] if rows else None


def until_looked(seen: int, milliseconds: int) -> list[Json]:
    """The operations that last until `cur_cfg` is no longer `seen`, and then read it."""
    wait = _wait("Open_vSwitch", [], "!=", [{"cur_cfg": seen}], milliseconds)
    return [wait, select("Open_vSwitch", [], ("cur_cfg",))]


def unless_changed(table: str, uuid: str, row: Json) -> Json:
    """Fails the transaction at once ("timed out") unless a row is there with these columns."""
    return _wait(table, is_("_uuid", to_uuid(uuid)), "==", [row], 0)


def _wait(
    table: str, where: Json, until: str, rows: Sequence[Json], milliseconds: int, *columns: str
) -> Json:
    """Lasts until the rows `where` are (`==`), or are no longer (`!=`), these, at most so long.

    `columns`: those that are compared; without any, those of the rows.
    """
    return {
        "op": "wait",
        "table": table,
        "where": where,
        "columns": columns or list(rows[0]),
        "until": until,
        "rows": rows,
        "timeout": milliseconds,
    }


def update(table: str, uuid: str, row: Json) -> Json:
    """The operation that sets columns of one row."""
    return {"op": "update", "table": table, "where": is_("_uuid", to_uuid(uuid)), "row": row}


def mutation(table: str, where: Json, *mutations: Json) -> Json:
    """The operation that carries out mutations (RFC 7047, section 5.2.4) of some rows."""
    return {"op": "mutate", "table": table, "where": where, "mutations": list(mutations)}


# ovs-vswitchd looks at all of its configuration whenever `next_cfg` is counted up, and says that it
# has done so by the same number in `cur_cfg` (ovs-vswitchd.conf.db(5)).
ANNOUNCEMENT = [
    mutation("Open_vSwitch", [], ["next_cfg", "+=", 1]),
    select("Open_vSwitch", [], ("next_cfg",)),
]


class _Batch:
    """The operations of one transaction, while they are being collected."""

    def __init__(self, spec: model.OverlaySpec, bridge: model.ObservedBridge | None) -> None:
        self.spec = spec
        self.bridge = bridge
        self.marks = observed.ownership(spec.network, spec.maker)
        self.operations: list[Json] = []
        self.new_ports: list[Json] = []
        self.new_controllers: list[Json] = []
        self.old_ports: list[Json] = []
        self.old_controllers: list[Json] = []
        self.is_announced = False  # whether ovs-vswitchd is told to look

    def insert(self, table: str, row: Json) -> Json:
        """Insert a row and return the reference to it."""
        label = f"row{len(self.operations)}"
        self.operations.append({"op": "insert", "table": table, "row": row, "uuid-name": label})
        return new_row(label)

    def insert_port(self, port: Json, interface: Json) -> None:
        """Insert a port and its one interface."""
        port["interfaces"] = self.insert("Interface", interface)
        self.new_ports.append(self.insert("Port", port))

    def update(self, table: str, uuid: str, row: Json) -> None:
        """Set columns of one row."""
        self.operations.append(update(table, uuid, row))

    def finish(self) -> list[Json]:
        """The whole transaction: the guard first, the references to new rows last."""
        guard = self._bridge_guard()
        if self.bridge is None:
            self._insert_bridge()
        else:
            self._refer_from(self.bridge)
        if self.old_ports:
            removal = mutation("Bridge", [], ["ports", "delete", to_set(self.old_ports)])
            self.operations.append(removal)
        announcement = ANNOUNCEMENT if self.is_announced else []
        return [guard, *self.operations, *announcement]

    def _bridge_guard(self) -> Json:
        """Fails at once unless the bridge is as it was read: absent, or with these controllers."""
        rows = []
        if self.bridge is not None:
            attached = [to_uuid(controller.uuid) for controller in self.bridge.controllers]
            rows.append({"_uuid": to_uuid(self.bridge.uuid), "controller": to_set(attached)})
        return _wait("Bridge", is_("name", self.spec.bridge), "==", rows, 0, "_uuid", "controller")

    def _insert_bridge(self) -> None:
        spec = self.spec
        marks = dict(self.marks)
        if spec.vni is not None:
            marks[naming.MARK_VNI] = str(spec.vni)
        row = {
            "name": spec.bridge,
            "datapath_type": spec.datapath_type or "",
            "fail_mode": spec.fail_mode,
            "ports": to_set(self.new_ports),
            "controller": to_set(self.new_controllers),
            "external_ids": to_map(marks),
            "other_config": to_map(_bridge_options(spec.mac_table_size)),
            **plan.stp_settings(spec.stp),
        }
        bridge = self.insert("Bridge", row)
        insertion = ["bridges", "insert", to_set([bridge])]
        self.operations.append(mutation("Open_vSwitch", [], insertion))

    def _refer_from(self, bridge: model.ObservedBridge) -> None:
        mutations = [
            [column, mutator, to_set(rows)]
            for column, mutator, rows in (
                ("ports", "insert", self.new_ports),
                ("controller", "insert", self.new_controllers),
                ("controller", "delete", self.old_controllers),
            )
            if rows
        ]
        if mutations:
            where = is_("_uuid", to_uuid(bridge.uuid))
            self.operations.append(mutation("Bridge", where, *mutations))


def _create_bridge(batch: _Batch, step: plan.CreateBridge) -> None:
    """The internal port; the bridge itself comes last, since it refers to all its ports."""
    interface: Json = {"name": step.spec.bridge, "type": "internal"}
    if step.spec.mtu is not None:
        interface["mtu_request"] = step.spec.mtu
    batch.insert_port({"name": step.spec.bridge}, interface)


def _set_bridge(batch: _Batch, step: plan.SetBridge) -> None:
    """Of itself ovs-vswitchd does not look when only columns of a spanning tree change."""
    batch.update("Bridge", step.bridge.uuid, dict(step.settings))
    batch.is_announced = True


def _set_vni(batch: _Batch, step: plan.SetVni) -> None:
    mutations: list[Json] = [["external_ids", "delete", to_set([naming.MARK_VNI])]]
    if step.vni is not None:
        mutations.append(["external_ids", "insert", to_map({naming.MARK_VNI: step.vni})])
    where = is_("_uuid", to_uuid(step.bridge.uuid))
    batch.operations.append(mutation("Bridge", where, *mutations))


def _set_mtu(batch: _Batch, step: plan.SetMtu) -> None:
    batch.update("Interface", step.interface.uuid, {"mtu_request": step.mtu})


def _set_mac_table_size(batch: _Batch, step: plan.SetMacTableSize) -> None:
    """An insertion changes no value that is there: where somebody was quicker, that one stays."""
    insertion = ["other_config", "insert", to_map(_bridge_options(step.size))]
    batch.operations.append(mutation("Bridge", is_("_uuid", to_uuid(step.bridge.uuid)), insertion))


def _bridge_options(mac_table_size: int | None) -> dict[str, str]:
    return {} if mac_table_size is None else {model.MAC_TABLE_SIZE: str(mac_table_size)}


def _add_tunnel(batch: _Batch, step: plan.AddTunnel) -> None:
    marks = to_map(batch.marks | {naming.MARK_BRIDGE: batch.spec.bridge})
    port = {"name": step.name, "external_ids": marks, "protected": step.tunnel.protected}
    interface = {
        "name": step.name,
        "external_ids": marks,
        "type": "vxlan",
        "options": to_map(step.tunnel.options),
        "bfd": to_map(step.tunnel.bfd or {}),
    }
    batch.insert_port(port, interface)


def _change_tunnel(batch: _Batch, step: plan.ChangeTunnel) -> None:
    if step.observed.protected != step.tunnel.protected:
        batch.update("Port", step.observed.uuid, {"protected": step.tunnel.protected})
    row = {"options": to_map(step.tunnel.options)}
    if step.tunnel.bfd is not None:
        row["bfd"] = to_map(step.tunnel.bfd)
    batch.update("Interface", step.interface.uuid, row)
    batch.is_announced = True  # port number and error stay as they are until it has looked


def _remove_tunnel(batch: _Batch, step: plan.RemoveTunnel) -> None:
    batch.old_ports.append(to_uuid(step.observed.uuid))


def _add_controller(batch: _Batch, step: plan.AddController) -> None:
    row = {"target": step.target, "external_ids": to_map(batch.marks)}
    batch.new_controllers.append(batch.insert("Controller", row))


def _remove_controller(batch: _Batch, step: plan.RemoveController) -> None:
    batch.old_controllers.append(to_uuid(step.controller.uuid))


_WRITERS: dict[type, Callable[[_Batch, Any], None]] = {
    plan.CreateBridge: _create_bridge,
    plan.SetBridge: _set_bridge,
    plan.SetVni: _set_vni,
    plan.SetMtu: _set_mtu,
    plan.SetMacTableSize: _set_mac_table_size,
    plan.AddTunnel: _add_tunnel,
    plan.ChangeTunnel: _change_tunnel,
    plan.RemoveTunnel: _remove_tunnel,
    plan.AddController: _add_controller,
    plan.RemoveController: _remove_controller,
}
