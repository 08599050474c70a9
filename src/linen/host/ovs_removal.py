# SPDX-License-Identifier: Apache-2.0
"""Linen off this node's Open vSwitch: its tunnels, controllers and bridges, and nothing else.

What carries our mark is removed, unless its network is one that is kept.
A bridge of ours that somebody put a port on stays, with its marks, so that a later call can finish.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linen.core import errors
from linen.core.notation import is_, to_set, to_uuid
from linen.core.transaction import RACE_LOST, mutation, unless_changed
from linen.host.inventory import read_inventory
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection, TransactionError

if TYPE_CHECKING:
    from collections.abc import Collection

    from linen.host.inventory import Bridge, Inventory, Port

    Json = object

PATIENCE = 10.0  # seconds for one talk with OVSDB
ATTEMPTS = 10  # another client may write between our reading and our transaction


@dataclass(frozen=True)
class Removal:
    """What is to go from one OVSDB: whole bridges, and single rows of bridges that stay."""

    bridges: tuple[Bridge, ...]
    ports: tuple[tuple[Bridge, Port], ...]
    controllers: tuple[tuple[Bridge, str, str], ...]  # bridge, UUID, target
    staying: tuple[Bridge, ...]

    @property
    def sentences(self) -> list[str]:
        """What goes, for people."""
        told = [f"OVS bridge {bridge.name}" for bridge in self.bridges]
        for bridge in self.bridges:
            told += [f"tunnel {port.name}" for port, _ in bridge.tunnels()]
        told += [f"tunnel {port.name} of OVS bridge {bridge.name}" for bridge, port in self.ports]
        told += [
            f"controller {target} of OVS bridge {bridge.name}"
            for bridge, _, target in self.controllers
        ]
        return told

    @property
    def reasons(self) -> list[str]:
        """Why a bridge of ours stays."""
        return [
            f"OVS bridge {bridge.name} stays: others have ports on it"
            f" ({', '.join(port.name for port in bridge.foreign_ports())})"
            for bridge in self.staying
        ]


def plan_removal(inventory: Inventory, keep: Collection[str]) -> Removal:
    """What to remove, but for the networks in `keep`."""

    def goes(network: str | None) -> bool:
        return network is not None and network not in keep

    ours = [bridge for bridge in inventory.bridges if goes(bridge.network)]
    free = [bridge for bridge in ours if _only_ours(bridge, keep)]
    rest = [bridge for bridge in inventory.bridges if bridge not in free]
    return Removal(
        bridges=tuple(free),
        ports=tuple(
            (bridge, port) for bridge in rest for port in bridge.ports if goes(port.network)
        ),
        controllers=tuple(
            (bridge, one.uuid, one.target)
            for bridge in rest
            for one in bridge.controllers
            if goes(one.network)
        ),
        staying=tuple(bridge for bridge in ours if bridge not in free),
    )


def _only_ours(bridge: Bridge, keep: Collection[str]) -> bool:
    """Whether nothing is on a bridge that has to stay."""
    kept = [port for port in bridge.ports if port.network in keep]
    return not kept and not bridge.foreign_ports()


def operations(removal: Removal) -> list[Json]:
    """One transaction, that fails unless each bridge still has the ports that were read."""
    touched = {bridge.uuid: bridge for bridge in removal.bridges}
    touched |= {bridge.uuid: bridge for bridge, _ in removal.ports}
    guards = [
        unless_changed(
            "Bridge", bridge.uuid, {"ports": to_set(to_uuid(port.uuid) for port in bridge.ports)}
        )
        for bridge in touched.values()
    ]
    mutations = [_taken_from(bridge, "ports", port.uuid) for bridge, port in removal.ports]
    mutations += [
        _taken_from(bridge, "controller", uuid) for bridge, uuid, _ in removal.controllers
    ]
    if removal.bridges:
        gone = to_set(to_uuid(bridge.uuid) for bridge in removal.bridges)
        mutations.append(mutation("Open_vSwitch", [], ["bridges", "delete", gone]))
    return [*guards, *mutations]


def _taken_from(bridge: Bridge, column: str, uuid: str) -> Json:
    row = to_set([to_uuid(uuid)])
    return mutation("Bridge", is_("_uuid", to_uuid(bridge.uuid)), [column, "delete", row])


def remove_from(path: str, keep: Collection[str]) -> Removal:
    """Carry it out on the OVSDB at a socket. Raises `Unavailable`."""
    with closing(Connection(path, Deadline(PATIENCE))) as connection:
        for _ in range(ATTEMPTS):
            removal = plan_removal(read_inventory(connection), keep)
            if not removal.sentences or _commit(connection, removal):
                return removal
    raise errors.Unavailable(
        f"OVSDB at {path} keeps being changed by somebody else", "try again later"
    )


def _commit(connection: Connection, removal: Removal) -> bool:
    """Whether the transaction went through; not where somebody else was quicker."""
    try:
        connection.transact(operations(removal))
    except TransactionError as error:
        if error.kind in RACE_LOST:
            return False
        raise errors.LinenError(f"OVSDB at {connection.path} refuses: {error}") from None
    return True
