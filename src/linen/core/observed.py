# SPDX-License-Identifier: Apache-2.0
"""What is there: the questions to OVSDB, and their answers as values.

One transaction of five selects serves every ADD.
Its answer does not grow with the tunnels that others have in the same OVSDB, and no column is
read that does (`Bridge.ports` names every port: 8 MB at 5,000 tunnels with all columns, 140 bytes
the way it is done here).
"""

from __future__ import annotations

from linen.core import model, naming
from linen.core.notation import includes, is_, optional, pairs, select, to_map, uuids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.light.json import Json

BRIDGE_COLUMNS = (
    "_uuid",
    "external_ids",
    "datapath_type",
    "fail_mode",
    "stp_enable",
    "rstp_enable",
    "controller",
    "other_config",
)
INTERFACE_COLUMNS = ("_uuid", "name", "type", "options", "ofport", "error", "mtu_request", "bfd")
PORT_COLUMNS = ("_uuid", "name", "protected", "external_ids")
CONTROLLER_COLUMNS = ("_uuid", "target", "external_ids")

# The kernel's datapath has two names in Bridge.datapath_type.
SYSTEM_DATAPATHS = ("", "system")


def ownership(network: str, maker: str) -> dict[str, str]:
    """The marks of the rows that `maker` answers for in `network`."""
    return {naming.MARK_NETWORK: network, naming.MARK_MAKER: maker}


def questions(bridge: str, network: str, maker: str) -> list[Json]:
    """The operations whose results `answers` understands.

    The server searches a table row by row, so two searches of one table follow each other: what the
    processor's caches hold of it serves both.
    """
    marked = includes("external_ids", to_map(ownership(network, maker)))
    return [
        select("Bridge", is_("name", bridge), BRIDGE_COLUMNS),
        select("Port", marked, PORT_COLUMNS),
        select("Interface", is_("name", bridge), INTERFACE_COLUMNS),
        select("Interface", marked, INTERFACE_COLUMNS),
        select("Controller", [], CONTROLLER_COLUMNS),
    ]


def answers(results: list[Json], network: str) -> model.Observed:
    """The results of `questions`, as values."""
    bridges, ports, internal, interfaces, controllers = (result["rows"] for result in results)
    by_name = {row["name"]: _interface(row) for row in interfaces}
    tunnels = [
        model.ObservedTunnel(
            uuid=row["_uuid"][1],
            name=row["name"],
            bridge=pairs(row["external_ids"]).get(naming.MARK_BRIDGE, ""),
            protected=row["protected"],
            interface=by_name.get(row["name"]),
        )
        for row in ports
    ]
    bridge = _bridge(bridges[0], internal, controllers, network) if bridges else None
    return model.Observed(bridge, tunnels, is_name_taken=bool(internal) and bridge is None)


def _bridge(
    row: Json, internal: list[Json], controllers: list[Json], network: str
) -> model.ObservedBridge:
    marks = pairs(row["external_ids"])
    attached = uuids(row["controller"])
    return model.ObservedBridge(
        uuid=row["_uuid"][1],
        network=marks.get(naming.MARK_NETWORK),
        vni=marks.get(naming.MARK_VNI),
        datapath_type="" if row["datapath_type"] in SYSTEM_DATAPATHS else row["datapath_type"],
        fail_mode=optional(row["fail_mode"]) or "",
        stp=_spanning_tree(row),
        controllers=[
            model.ObservedController(
                uuid=controller["_uuid"][1],
                target=controller["target"],
                owned=pairs(controller["external_ids"]).get(naming.MARK_NETWORK) == network,
            )
            for controller in controllers
            if controller["_uuid"][1] in attached
        ],
        interface=_interface(internal[0]) if internal else None,
        mac_table_size=pairs(row["other_config"]).get(model.MAC_TABLE_SIZE),
    )


def _spanning_tree(row: Json) -> str:
    if row["rstp_enable"]:
        return model.STP_RAPID
    return model.STP_CLASSIC if row["stp_enable"] else model.STP_OFF


def _interface(row: Json) -> model.ObservedInterface:
    return model.ObservedInterface(
        uuid=row["_uuid"][1],
        type=row["type"],
        options=pairs(row["options"]),
        ofport=optional(row["ofport"]),
        error=optional(row["error"]) or "",
        mtu_request=optional(row["mtu_request"]),
        bfd=pairs(row["bfd"]),
    )
