# SPDX-License-Identifier: Apache-2.0
"""The OVS bridge's device: whether it is one, which place is right, who may change it, in words.

Its device, the internal port with its name, is the way between pods and tunnels, so it belongs on
the Linux bridge of its network's pods, and is to be up. Anybody's OVS bridge may be hung there from
nowhere. From another Linux bridge Linen takes only the network's own, whose configuration has
changed; whoever has hung another one there would lose what it is for.

A device that only has its name, as a Linux bridge `br0` of the node's own network, is left alone.
Open vSwitch can make none beside it, so nothing is asked of it either.
"""

from __future__ import annotations

from linen.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Device(Protocol):
        """A network device. `master`: index of the Linux bridge it hangs on, 0 for none.

        `kind`: as the kernel has it (IFLA_INFO_KIND), empty for hardware.
        """

        index: int
        kind: str
        name: str
        master: int
        up: bool

    class OvsBridge(Protocol):
        """An OVS bridge as OVSDB has it."""

        @property
        def network(self) -> str | None:
            """The network of Linen that it is marked with, None where it carries no mark."""


# Of the devices that Open vSwitch makes of its ports: the kernel's datapath, and its own.
OWN_KINDS = ("openvswitch", "tun")
LINUX_BRIDGE = "bridge"  # the kind of Linux bridges


def is_foreign(device: Device) -> bool:
    """Whether the device with the OVS bridge's name is somebody else's."""
    return device.kind not in OWN_KINDS


def refuse_foreign(device: Device | None) -> None:
    """Raises `Conflict` where the device with the OVS bridge's name, if any, `is_foreign`."""
    if device is None or not is_foreign(device):
        return
    name = device.name
    cure = "two devices cannot have one name: choose another for ovs.ovsBridge (flaxd's ovs-bridge)"
    if device.kind == LINUX_BRIDGE:
        raise errors.Conflict(
            f"{name} is a Linux bridge, and ovs.ovsBridge is {name}, too",
            f"{cure}, or for `bridge` in the entry of the bridge plugin where that makes it",
        )
    raise errors.Conflict(
        f"{name} is a network device that is none of Open vSwitch's, and ovs.ovsBridge is {name},"
        " too",
        cure,
    )


def is_on(port: Device, linux_bridge: Device) -> bool:
    """Whether the OVS bridge's device hangs on the Linux bridge, up or not."""
    return port.master == linux_bridge.index


def is_right(port: Device, linux_bridge: Device) -> bool:
    """Whether nothing is left to do: the OVS bridge's device is on the Linux bridge, and up."""
    return is_on(port, linux_bridge) and port.up


def is_own(ovs_bridge: OvsBridge | None, network: str) -> bool:
    """Whether the OVS bridge is the network's own, as one is that has yet to be made (None)."""
    return ovs_bridge is None or ovs_bridge.network == network


def is_held(
    port: Device, linux_bridge: Device | None, ovs_bridge: OvsBridge | None, network: str
) -> bool:
    """Whether the OVS bridge hangs on another Linux bridge, and must not be taken off it.

    `linux_bridge`: None where the bridge plugin has yet to make it. `ovs_bridge`: as for `is_own`.
    """
    if is_own(ovs_bridge, network) or port.master == 0:
        return False
    return linux_bridge is None or not is_on(port, linux_bridge)


def held(port: Device, holder: Device | None, network: str) -> errors.Conflict:
    """The error where it `is_held`. `holder`: what it hangs on, None where that is not known."""
    name = port.name
    return errors.Conflict(
        f"OVS bridge {name} hangs on {holder.name if holder else 'another bridge'} and is not of"
        f" network {network!r}",
        "give the network an ovs.ovsBridge of its own (flaxd's ovs-bridge), or take this one off:"
        f" `ip link set {name} nomaster`",
    )


def misplacement(port: Device, linux_bridge: Device, holder: Device | None) -> str:
    """What is wrong where the device hangs elsewhere; empty where it does not.

    `holder`: what it hangs on, None where that is nothing.
    """
    if is_on(port, linux_bridge):
        return ""
    seen = f"hangs on {holder.name}" if holder else "hangs on no Linux bridge"
    return f"device {port.name} {seen} instead of {linux_bridge.name}"


def faults(port: Device, linux_bridge: Device, holder: Device | None) -> list[str]:
    """What keeps its place from being right. `holder`: as for `misplacement`."""
    found = [misplacement(port, linux_bridge, holder), "" if port.up else down(port)]
    return [fault for fault in found if fault]


def down(device: Device) -> str:
    """What is wrong with a device that is down."""
    return f"device {device.name} is down"
