# SPDX-License-Identifier: Apache-2.0
"""What the core speaks about: what is wanted (`…Spec`) and what OVSDB says (`Observed…`).

Plain classes with `__slots__`: the plugin's static file has no `dataclasses`.
"""

from __future__ import annotations

from linen.core import naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VXLAN_PORT = 4789  # UDP; Open vSwitch's default, and IANA's (RFC 7348, section 8)

OLDEST_OVS = "2.17"  # that is supported (docs/supported.md)

STP_OFF = "off"
STP_CLASSIC = "stp"
STP_RAPID = "rstp"

TOPOLOGY_STAR = "star"
TOPOLOGY_MESH = "mesh"
TOPOLOGY_FLOW = "flow"

# What an OVS bridge of ours does without a controller: it is a learning switch, or has the rules
# that were put there and no others.
FAIL_STANDALONE = "standalone"
FAIL_SECURE = "secure"

REMOTE_BY_RULE = "flow"  # `remote_ip` of a tunnel to all nodes, among which rules choose

MAC_TABLE_SIZE = "mac-table-size"  # in `Bridge.other_config`: how many MACs a bridge remembers

KEY_ANY = "flow"  # accepts every VNI, sends VNI 0


class Value:
    """Equality and a readable `repr` from `__slots__`."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # values are compared, never keys

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class OverlayOptions(Value):
    """The `ovs` block of a configuration, checked; controllers as OVSDB writes their targets.

    `datapath_type`: "" (the kernel's) or "netdev", None where the block does not say.
    `ovsdb`: path of the database's unix socket.
    """

    __slots__ = (
        "controllers",
        "datapath_type",
        "dst_port",
        "is_master",
        "ovs_bridge",
        "ovsdb",
        "stp",
        "topology",
        "tunnel_options",
        "vni",
        "vteps",
    )

    def __init__(  # noqa: PLR0913  (a value is its fields)
        self,
        *,
        is_master: bool = False,
        ovs_bridge: str = "br0",
        vteps: Sequence[str] = (),
        controllers: Sequence[str] = (),
        vni: int | None = None,
        dst_port: int | None = None,
        datapath_type: str | None = None,
        stp: str = STP_OFF,
        topology: str = TOPOLOGY_STAR,
        tunnel_options: dict[str, str] | None = None,
        ovsdb: str = "/var/run/openvswitch/db.sock",
    ) -> None:
        self.is_master = is_master
        self.ovs_bridge = ovs_bridge
        self.vteps = vteps
        self.controllers = controllers
        self.vni = vni
        self.dst_port = dst_port
        self.datapath_type = datapath_type
        self.stp = stp
        self.topology = topology
        self.tunnel_options = tunnel_options or {}
        self.ovsdb = ovsdb

    def with_vteps(self, vteps: Sequence[str], *, is_master: bool) -> OverlayOptions:
        """The same options, with tunnels to these addresses."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return OverlayOptions(**fields | {"vteps": vteps, "is_master": is_master})


class TunnelSpec(Value):
    """A VXLAN port of `network` as it should be.

    `options` is all of `Interface.options`, `remote_ip` and `key` included.
    `remote` is the peer's VTEP address.
    `protected` ports never forward to one another (split horizon).
    `bfd` is all of `Interface.bfd`, or None to leave that alone.
    """

    __slots__ = ("bfd", "network", "options", "protected", "remote")

    def __init__(
        self,
        network: str,
        options: dict[str, str],
        *,
        protected: bool,
        bfd: dict[str, str] | None = None,
    ) -> None:
        self.network = network
        self.options = options
        self.remote = options["remote_ip"]
        self.protected = protected
        self.bfd = bfd

    @property
    def names(self) -> tuple[str, str]:
        """The port's name, and the one to take where the first is taken."""
        second = naming.second_name(self.remote, self.network, self.options["key"])
        return naming.first_name(self.remote), second

    def may_be_named(self, name: str) -> bool:
        """Whether `name` is one of `names`. Usually it is the first, and the second costs more."""
        return name == naming.first_name(self.remote) or name in self.names


class OverlaySpec(Value):
    """All that one network wants of Open vSwitch on this node.

    `datapath_type`: "" or "netdev", or None for whatever the bridge has (a new one gets "").
    `fail_mode`: `FAIL_SECURE` where rules take the place of a learning switch.
    `vni`: None for the original's `key=flow`.
    `mtu`: bytes that a pod's packet may have, or None to leave the OVS bridge's own alone.
    `mac_table_size`: the MACs that the OVS bridge can remember, None for Open vSwitch's default.
    """

    __slots__ = (
        "bridge",
        "controllers",
        "datapath_type",
        "fail_mode",
        "mac_table_size",
        "maker",
        "mtu",
        "network",
        "stp",
        "tunnels",
        "vni",
    )

    def __init__(  # noqa: PLR0913  (a spec is its fields)
        self,
        *,
        network: str,
        maker: str,
        bridge: str,
        datapath_type: str | None = None,
        fail_mode: str = FAIL_STANDALONE,
        stp: str = STP_OFF,
        vni: int | None = None,
        mtu: int | None = None,
        mac_table_size: int | None = None,
        tunnels: Sequence[TunnelSpec] = (),
        controllers: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.maker = maker
        self.bridge = bridge
        self.datapath_type = datapath_type
        self.fail_mode = fail_mode
        self.stp = stp
        self.vni = vni
        self.mtu = mtu
        self.mac_table_size = mac_table_size
        self.tunnels = tunnels
        self.controllers = controllers


def refusal(ofport: int | None, error: str) -> str:
    """What Open vSwitch has against an interface with these columns; "" for nothing (so far)."""
    if error:
        return error
    return "no reason given" if ofport == -1 else ""


class ObservedInterface(Value):
    """A row of Interface.

    `ofport`: None until ovs-vswitchd has dealt with it, -1 if it failed, and then `error` says
    why.
    """

    __slots__ = ("bfd", "error", "mtu_request", "ofport", "options", "type", "uuid")

    def __init__(  # noqa: PLR0913  (a row is its columns)
        self,
        *,
        uuid: str,
        type: str,  # noqa: A002  (the column's name)
        options: dict[str, str],
        ofport: int | None,
        error: str,
        mtu_request: int | None = None,
        bfd: dict[str, str] | None = None,
    ) -> None:
        self.uuid = uuid
        self.type = type
        self.options = options
        self.ofport = ofport
        self.error = error
        self.mtu_request = mtu_request
        self.bfd = bfd or {}

    @property
    def refusal(self) -> str:
        """What Open vSwitch has against it; "" for nothing."""
        return refusal(self.ofport, self.error)


class ObservedTunnel(Value):
    """A port that carries our mark.

    `interface` is None where its row is gone or no longer carries the mark.
    """

    __slots__ = ("bridge", "interface", "name", "protected", "uuid")

    def __init__(
        self,
        *,
        uuid: str,
        name: str,
        bridge: str,
        protected: bool,
        interface: ObservedInterface | None,
    ) -> None:
        self.uuid = uuid
        self.name = name
        self.bridge = bridge
        self.protected = protected
        self.interface = interface


class ObservedController(Value):
    """A row of Controller that the OVS bridge refers to."""

    __slots__ = ("owned", "target", "uuid")

    def __init__(self, *, uuid: str, target: str, owned: bool) -> None:
        self.uuid = uuid
        self.target = target
        self.owned = owned


class ObservedBridge(Value):
    """The OVS bridge.

    `network` is None where it carries no mark of Linen: then its settings aren't ours to change.
    `mac_table_size`: as somebody has set it, None where that is nobody.
    """

    __slots__ = (
        "controllers",
        "datapath_type",
        "fail_mode",
        "interface",
        "mac_table_size",
        "network",
        "stp",
        "uuid",
        "vni",
    )

    def __init__(  # noqa: PLR0913
        self,
        *,
        uuid: str,
        network: str | None,
        vni: str | None,
        datapath_type: str,
        fail_mode: str,
        stp: str,
        controllers: list[ObservedController],
        interface: ObservedInterface | None,
        mac_table_size: str | None = None,
    ) -> None:
        self.uuid = uuid
        self.network = network
        self.vni = vni
        self.datapath_type = datapath_type
        self.fail_mode = fail_mode
        self.stp = stp
        self.controllers = controllers
        self.interface = interface
        self.mac_table_size = mac_table_size


class Observed(Value):
    """What OVSDB says about one network: its OVS bridge, and the tunnels that carry its mark.

    `is_name_taken`: whether the OVS bridge is not there, and its name is another one's port's.
    """

    __slots__ = ("bridge", "is_name_taken", "tunnels")

    def __init__(
        self,
        bridge: ObservedBridge | None,
        tunnels: list[ObservedTunnel],
        *,
        is_name_taken: bool = False,
    ) -> None:
        self.bridge = bridge
        self.tunnels = tunnels
        self.is_name_taken = is_name_taken


class Obstacles(Value):
    """What is in the way of tunnels that are to be added: rows that aren't ours.

    `taken`: the candidate names that exist already.
    `present`: the peers that somebody else's tunnel leads to already, with the same key; each
    with the names of that tunnel's port and of the OVS bridge it is on.
    """

    __slots__ = ("present", "taken")

    def __init__(self, taken: set[str], present: dict[str, tuple[str, str]]) -> None:
        self.taken = taken
        self.present = present
