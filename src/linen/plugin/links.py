# SPDX-License-Identifier: Apache-2.0
"""The kernel's side: the Linux bridge that pods hang on, and the OVS bridge's place on it."""

from __future__ import annotations

import errno
import posix

from linen.cni import request, result
from linen.core import errors, place
from linen.netlink.codec import NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.cni.config import Config
    from linen.cni.request import Request
    from linen.core.model import Observed
    from linen.netlink.blocking import Netlink
    from linen.netlink.codec import Link
    from linen.plugin.overlay import Overlay


def linux_bridge(netlink: Netlink, config: Config, call: Request) -> Link:
    """The Linux bridge that the plugin before us put the pod on.

    Raises `ConfigInvalid` where there is none.
    """
    if config.prev_result is None:
        raise errors.ConfigInvalid(
            "prevResult is missing: linen is a chained plugin",
            "put it behind `bridge` in the `plugins` of the conflist",
        )
    names = result.host_interfaces(config.prev_result)
    for name in names:
        link = None if request.interface_name_fault(name) else netlink.find_link(name)
        if link is not None and link.kind == "bridge":
            return link
    if "interfaces" not in config.prev_result:
        found = _bridge_of_pod(netlink, call)
        if found is not None:
            return found
    seen = ", ".join(names) or "none"
    raise errors.ConfigInvalid(
        f"prevResult names no Linux bridge; its interfaces on the host are: {seen}",
        "linen works behind the `bridge` plugin, which names its bridge in the result",
    )


def _bridge_of_pod(netlink: Netlink, call: Request) -> Link | None:
    """The Linux bridge that holds the host's end of the pod's interface which the call is about.

    Results older than 0.3.0 do not name it. The kernel does: a veth tells the index of its other
    end, and that one's network namespace, by an id that exists from the moment somebody has listed
    the link. The pod may have interfaces in other networks, which are on other Linux bridges.
    """
    try:
        descriptor = posix.open(call.netns, posix.O_RDONLY | posix.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        links = netlink.links()
        pod = netlink.netns_id(descriptor)
        own = netlink.find_link(call.ifname, pod) if pod >= 0 else None
    finally:
        posix.close(descriptor)
    if own is None:
        return None
    ends = [link for link in links if (link.peer_netns, link.peer) == (pod, own.index)]
    masters = {link.master for link in ends}
    bridges = [link for link in links if link.index in masters and link.kind == "bridge"]
    return bridges[0] if bridges else None


def refuse_held(netlink: Netlink, config: Config, observed: Observed, call: Request) -> None:
    """Raises `Conflict` where the OVS bridge has to stay on another Linux bridge.

    Asked before anything is written: tunnels would join that Linux bridge to all nodes' pods.
    """
    if place.is_own(observed.bridge, config.name):
        return  # as nearly always, so that the kernel is not asked
    port = netlink.find_link(config.options.ovs_bridge)
    if port is not None:
        _refuse_held(netlink, config, observed, port, linux_bridge(netlink, config, call))


def _refuse_held(
    netlink: Netlink, config: Config, observed: Observed, port: Link, bridge: Link
) -> None:
    if place.is_held(port, bridge, observed.bridge, config.name):
        raise place.held(port, _holder(netlink, port), config.name)


def put_in_place(
    netlink: Netlink, config: Config, observed: Observed, port: Link, bridge: Link
) -> None:
    """Put the OVS bridge's internal port on the Linux bridge, and set it up.

    Raises `Unavailable` where one of the devices is gone, or the kernel lets us not, and `Conflict`
    where the port is on another bridge that is not ours to leave, or the kernel refuses the pair.
    """
    if place.is_right(port, bridge):
        return
    _refuse_held(netlink, config, observed, port, bridge)
    try:
        netlink.enslave(port, bridge)
    except NetlinkError as error:
        raise _refusal(port, bridge, error.errno) from None


def _holder(netlink: Netlink, port: Link) -> Link | None:
    """What a device hangs on, None where that is nothing."""
    return netlink.find_link_at(port.master) if port.master else None


def _refusal(port: Link, bridge: Link, number: int) -> errors.LinenError:
    """Why the kernel does not put the OVS bridge's internal port on the Linux bridge."""
    failure = f"device {port.name} cannot be put on Linux bridge {bridge.name}"
    why = f"{failure}: {posix.strerror(number)}"
    if number == errno.EPERM:
        return errors.Unavailable(why, "a CNI plugin runs as root with CAP_NET_ADMIN")
    if number == errno.ENODEV:
        return errors.Unavailable(why, "one of them has just gone, so a retry can help")
    return errors.Conflict(why, f"they have MTUs of {port.mtu} and {bridge.mtu} bytes")


def internal_port(netlink: Netlink, config: Config, overlay: Overlay) -> Link:
    """The device of the OVS bridge.

    Raises `Unavailable` where ovs-vswitchd does not make it, `Conflict` where it is another's.
    """
    name = config.options.ovs_bridge
    link = netlink.find_link(name)
    if link is None:
        # Port numbers outlast the ovs-vswitchd that gave them: this one may have just started.
        overlay.ensure_anew()
        link = netlink.find_link(name)
    if link is None:
        raise errors.Unavailable(
            f"device {name} does not exist although OVSDB at {config.options.ovsdb} lists its port",
            "ovs-vswitchd may have been stopped, or runs in another network namespace",
        )
    place.refuse_foreign(link)
    return link


def faults(netlink: Netlink, config: Config, bridge: Link) -> list[str]:
    """What is wrong with the OVS bridge's place on the Linux bridge.

    Raises `Conflict` where its device is another's.
    """
    name = config.options.ovs_bridge
    port = netlink.find_link(name)
    if port is None:
        return [f"device {name} of the OVS bridge does not exist"]
    place.refuse_foreign(port)
    if place.is_right(port, bridge):
        return []
    return place.faults(port, bridge, _holder(netlink, port))
