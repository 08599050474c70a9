# SPDX-License-Identifier: Apache-2.0
"""What is in the way of a new tunnel: its name taken, or somebody else's tunnel to that peer.

And what is on an OVS bridge that we did not make.

Port names are unique in all of OVSDB, and so are a tunnel's remote address and key in all of Open
vSwitch. The rows in the way may belong to the administrator, to `flaxd`, to another network, or
to the original of 2017.
"""

from __future__ import annotations

from linen.core import model, observed
from linen.core.notation import includes, is_, pairs, select, to_map, to_uuid, uuids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Generator, Sequence

    from linen.light.json import Json

COLUMNS = ("name", "type", "options")

# The two names of one `Interface.type` (ovs-vswitchd.conf.db(5)).
HOSTS_DEVICES = ("", "system")

# What all conversations here read, for who has them with a copy of OVSDB.
READS = (
    select("Interface", [], COLUMNS),
    select("Port", [], ("name", "interfaces", "external_ids")),
    select("Bridge", [], ("name", "ports")),
)

# Above this many tunnels one read of all interfaces costs less than three searches for each (0.05
# ms a search among 1,000 interfaces, 3 ms for all of them).
SEARCH_LIMIT = 24


def find(
    spec: model.OverlaySpec, tunnels: Sequence[model.TunnelSpec], own_names: Container[str]
) -> Generator[list[Json], list[Json], model.Obstacles]:
    """A conversation with OVSDB: yields operations, is sent their results, returns what it learned.

    Ports of `own_names` are ours, so they are in nobody's way. Nor are ports with our marks that
    were made since those names were read: the same tunnel has the same name, so adding it once more
    is a race lost, after which all is read again, and whether it works is seen.
    """
    results = yield _searches(tunnels)
    wanted = {identity(tunnel.options): tunnel.remote for tunnel in tunnels}
    candidates = {name for tunnel in tunnels for name in tunnel.names}
    taken: set[str] = set()
    clashes: dict[str, str] = {}
    for row in (row for result in results for row in result["rows"]):
        if row["name"] in own_names:
            continue
        if row["name"] in candidates:
            taken.add(row["name"])
        remote = wanted.get(identity(pairs(row["options"])))
        if row["type"] == "vxlan" and remote is not None:
            clashes[remote] = row["name"]
    if not clashes:
        return model.Obstacles(taken, {})
    own, present = yield from _locate(clashes, observed.ownership(spec.network, spec.maker))
    return model.Obstacles(taken - own, present)


def _searches(tunnels: Sequence[model.TunnelSpec]) -> list[Json]:
    if len(tunnels) > SEARCH_LIMIT:
        return [select("Interface", [], COLUMNS)]
    operations = []
    for tunnel in tunnels:
        same_peer = includes("options", to_map({"remote_ip": tunnel.remote}))
        operations.append(select("Interface", same_peer, COLUMNS))
        operations += [select("Interface", is_("name", name), COLUMNS) for name in tunnel.names]
    return operations


def _locate(
    clashes: dict[str, str], marks: dict[str, str]
) -> Generator[list[Json], list[Json], tuple[set[str], dict[str, tuple[str, str]]]]:
    """The ports that have `marks`; of each other peer, that tunnel's port and its OVS bridge."""
    columns = ("_uuid", "external_ids")
    found = yield [select("Port", is_("name", port), columns) for port in clashes.values()]
    own: set[str] = set()
    ports: dict[str, tuple[str, str]] = {}
    for (remote, port), result in zip(clashes.items(), found, strict=True):
        for row in result["rows"]:
            if marks.items() <= pairs(row["external_ids"]).items():
                own.add(port)
            else:
                ports[remote] = port, row["_uuid"][1]
    if not ports:
        return own, {}
    holders = yield [
        select("Bridge", includes("ports", to_uuid(uuid)), ("name",)) for _, uuid in ports.values()
    ]
    return own, {
        remote: (port, result["rows"][0]["name"])
        for (remote, (port, _)), result in zip(ports.items(), holders, strict=True)
        if result["rows"]
    }


def devices_on(bridge: str) -> Generator[list[Json], list[Json], list[str]]:
    """The names of the host's devices, as network cards, that are ports of an OVS bridge.

    Open vSwitch makes the devices of all other types of interfaces itself.
    """
    bridges, ports, *interfaces = yield [
        select("Bridge", is_("name", bridge), ("ports",)),
        select("Port", [], ("_uuid", "interfaces")),
        *(select("Interface", is_("type", kind), ("_uuid", "name")) for kind in HOSTS_DEVICES),
    ]
    held = [uuid for row in bridges["rows"] for uuid in uuids(row["ports"])]
    on_it = [
        uuid
        for row in ports["rows"]
        if row["_uuid"][1] in held
        for uuid in uuids(row["interfaces"])
    ]
    rows = [row for result in interfaces for row in result["rows"]]
    return sorted(row["name"] for row in rows if row["_uuid"][1] in on_it)


def identity(options: dict[str, str]) -> tuple[str, str, str]:
    """What Open vSwitch tells tunnels apart by (ovs-vswitchd.conf.db(5), "Tunnel Options")."""
    port = options.get("dst_port", str(model.VXLAN_PORT))
    return options.get("remote_ip", ""), options.get("key", "0"), port
