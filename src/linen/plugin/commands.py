# SPDX-License-Identifier: Apache-2.0
"""What the commands of CNI do, each a list of steps.

A command returns what goes to standard output.

The plugin keeps nothing for a single attachment: the OVS bridge, its place on the Linux bridge
and the tunnels belong to the node and serve all its pods. So DEL and GC have nothing to release,
and must not: a node without pods still forwards, as the master of a star does.
"""

from __future__ import annotations

from linen.cni import result
from linen.core import errors, explain
from linen.netlink.blocking import Netlink
from linen.plugin import links, sysfs, underlay
from linen.plugin.overlay import Overlay, refusals, refuse_absent_kernel_datapath, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.cni.config import Config
    from linen.cni.request import Request
    from linen.core.model import Observed


def add(request: Request, config: Config) -> str:
    """Join the pod's Linux bridge to the overlay, which is made or mended first where needed."""
    netlink = Netlink()
    seen = sysfs.find_pods_bridge(config.prev_result, config.options.ovs_bridge)
    mtu = (seen or links.linux_bridge(netlink, config, request)).mtu

    def refuse_held(observed: Observed) -> None:
        links.refuse_held(netlink, config, observed, request)

    overlay = Overlay(config, netlink, mtu, refuse_held)
    plan, changed = overlay.ensure()
    if changed or seen is None or not seen.has_overlay:
        port = links.internal_port(netlink, config, overlay)
        bridge = links.linux_bridge(netlink, config, request)
        links.put_in_place(netlink, config, plan.seen, port, bridge)
        if changed:
            config.warnings += underlay.mtu_warnings(netlink, plan.spec.tunnels, bridge)
    return result.passed_on(config.prev_result or {}, config.version)


def check(request: Request, config: Config) -> str:
    """Raises `OverlayDiffers` that names all that is not as ADD left it.

    Or `Conflict`, where no ADD can mend it.
    """
    netlink = Netlink()
    bridge = links.linux_bridge(netlink, config, request)
    plan = Overlay(config, netlink, bridge.mtu).examine()
    faults = explain.faults(config.options.ovs_bridge, plan.steps) + refusals(plan)
    faults += links.faults(netlink, config, bridge)
    if faults:
        raise errors.OverlayDiffers(
            "; ".join(faults), "the next ADD of a pod of this network mends what is ours"
        )
    return ""


def status(_request: Request, config: Config) -> str:
    """Raises `NotReady` where an ADD could not succeed."""
    try:
        overlay = Overlay(config, Netlink())
        plan = overlay.examine()
        # It may have taken the place of Open vSwitch's own, whose row says nothing of that.
        overlay.refuse_foreign_device()
        bridge = plan.seen.bridge
        if not (bridge.datapath_type if bridge else config.options.datapath_type):
            refuse_absent_kernel_datapath()
    except errors.VswitchdStopped as error:
        raise errors.NotReadyAndDegraded(error.message, error.details) from None
    except (errors.Unavailable, errors.Conflict) as error:
        raise errors.NotReady(error.message, error.details) from None
    said = refusals(plan)
    if said:
        fault = refused(said)
        raise errors.NotReadyAndDegraded(fault.message, fault.details)
    return ""
