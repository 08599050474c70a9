# SPDX-License-Identifier: Apache-2.0
"""From the options of a network to what it wants of Open vSwitch.

Which tunnels forward to one another is decided here, since a wrong answer is a loop or a cut:
- mesh: every node has a tunnel to every other, so none forwards to another (`protected`).
- star: the master's tunnels forward to one another; a leaf's do not, so that a list with too many
  nodes cannot close a loop.
- flow: one tunnel leads to all nodes, and rules (`core/flows.py`) choose among them, so the OVS
  bridge does nothing by itself. The rules are flaxd's, and so is that tunnel.
- with spanning tree the protocol decides: a port that it blocks and a pair of protected ports would
  together cut nodes off, so nothing is protected.
"""

from __future__ import annotations

from linen.core import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

# MACs that an OVS bridge can remember: Open vSwitch's default (ovs-vswitchd.conf.db(5)), and what a
# mesh at its limit of 750 nodes can need.
DEFAULT_MAC_TABLE, LARGEST_MAC_TABLE = 8192, 1 << 17


def overlay_spec(  # noqa: PLR0913  (what a spec depends on)
    options: model.OverlayOptions,
    *,
    network: str,
    maker: str,
    mtu: int | None = None,
    bfd: dict[str, str] | None = None,
    own_addresses: Container[str] = (),
    segment: Iterable[str] = (),
) -> model.OverlaySpec:
    """What `network` wants on the node of `own_addresses`: no tunnel leads to one of these.

    `maker`: who keeps it, one of `naming`'s. `mtu`: bytes that the OVS bridge's own port is to
    carry, None to leave it to Open vSwitch. `bfd`: settings of BFD on each tunnel
    (ovs-vswitchd.conf.db(5), Interface.bfd), None to leave them as they are.
    `segment`: for each IP version, a CIDR of all pods' addresses or one address with its prefix
    length.
    """
    return model.OverlaySpec(
        network=network,
        maker=maker,
        bridge=options.ovs_bridge,
        datapath_type=options.datapath_type,
        fail_mode=_fail_mode(options),
        stp=options.stp,
        vni=options.vni,
        mtu=mtu,
        mac_table_size=_mac_table_size(options, segment),
        tunnels=[
            tunnel_spec(options, network, vtep, bfd)
            for vtep in options.vteps
            if vtep not in own_addresses
        ],
        controllers=options.controllers,
    )


def tunnel_spec(
    options: model.OverlayOptions, network: str, vtep: str, bfd: dict[str, str] | None = None
) -> model.TunnelSpec:
    """The tunnel to the node whose VTEP address is `vtep`."""
    key = model.KEY_ANY if options.vni is None else str(options.vni)
    interface_options = dict(options.tunnel_options)
    interface_options["remote_ip"] = vtep
    interface_options["key"] = key
    if options.dst_port is not None:
        interface_options["dst_port"] = str(options.dst_port)
    return model.TunnelSpec(
        network,
        interface_options,
        protected=_is_protected(options),
        bfd=bfd,
    )


def _mac_table_size(options: model.OverlayOptions, segment: Iterable[str]) -> int | None:
    """Room for a MAC with each address of the segment, None where the default has it.

    A pod with an address of each IP version has one MAC, so the smaller segment counts. In topology
    flow nothing is learned.
    """
    if options.topology == model.TOPOLOGY_FLOW:
        return None
    sizes = [size for size in map(_addresses_in, segment) if size is not None]
    wanted = min(sizes, default=0)
    return min(wanted, LARGEST_MAC_TABLE) if wanted > DEFAULT_MAC_TABLE else None


def _addresses_in(cidr: str) -> int | None:
    """How many addresses there are with this prefix, None where there is no prefix length."""
    address, _, prefix = cidr.partition("/")
    bits = 128 if ":" in address else 32
    if not (prefix.isdecimal() and len(prefix) <= len("128")):
        return None
    return 1 << max(bits - int(prefix), 0)


def _fail_mode(options: model.OverlayOptions) -> str:
    is_by_rule = options.topology == model.TOPOLOGY_FLOW
    return model.FAIL_SECURE if is_by_rule else model.FAIL_STANDALONE


def _is_protected(options: model.OverlayOptions) -> bool:
    if options.stp != model.STP_OFF or options.topology == model.TOPOLOGY_FLOW:
        return False
    return options.topology == model.TOPOLOGY_MESH or not options.is_master
