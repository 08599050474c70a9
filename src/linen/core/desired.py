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
    from collections.abc import Container


def overlay_spec(
    options: model.OverlayOptions,
    *,
    network: str,
    maker: str,
    mtu: int | None = None,
    bfd: dict[str, str] | None = None,
    own_addresses: Container[str] = (),
) -> model.OverlaySpec:
    """What `network` wants on the node of `own_addresses`: no tunnel leads to one of these."""
    return model.OverlaySpec(
        network=network,
        maker=maker,
        bridge=options.ovs_bridge,
        datapath_type=options.datapath_type,
        fail_mode=_fail_mode(options),
        stp=options.stp,
        vni=options.vni,
        mtu=mtu,
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


def _fail_mode(options: model.OverlayOptions) -> str:
    is_by_rule = options.topology == model.TOPOLOGY_FLOW
    return model.FAIL_SECURE if is_by_rule else model.FAIL_STANDALONE


def _is_protected(options: model.OverlayOptions) -> bool:
    if options.stp != model.STP_OFF or options.topology == model.TOPOLOGY_FLOW:
        return False
    return options.topology == model.TOPOLOGY_MESH or not options.is_master
