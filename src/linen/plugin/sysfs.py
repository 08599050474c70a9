# SPDX-License-Identifier: Apache-2.0
"""The pod's Linux bridge as sysfs shows it, which costs little waiting.

Netlink answers what it is asked about links under one lock of the whole kernel (RTNL), for which
all that starts a pod queues: `bridge`, the making of network namespaces, Open vSwitch. Where many
pods start at once, a single question waits for a second. sysfs has the little that an ADD wants to
know where all is in order already, and takes no such lock.

It has one of its own (kernfs_rwsem), which is taken for every part of a path, and whoever makes a
link holds it for each of the link's forty files. So the path to the bridge is walked once, by its
shortest path, and all else is looked up from there.

sysfs shows the network namespace of whoever mounted it, which need not be ours. It is if the bridge
there has the pod's own link, whose name the plugin before us has just made up.
"""

from __future__ import annotations

import posix

from linen.cni import request, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.light.json import Json

LINKS = "/sys/devices/virtual/net"  # those that are nobody's hardware, as bridges are
PORTS = "brif"  # of a Linux bridge alone: a folder with an entry for each of its ports
IFF_UP = 0x1  # linux/if.h
LONGEST = 32  # bytes of an attribute that is a number


class PodsBridge:
    """A Linux bridge that has the pod's link.

    `mtu`: in bytes. `has_overlay`: whether the OVS bridge is a port of it and set up, so that
    packets pass.
    """

    __slots__ = ("has_overlay", "mtu")

    def __init__(self, mtu: int, *, has_overlay: bool) -> None:
        self.mtu = mtu
        self.has_overlay = has_overlay


def find_pods_bridge(prev_result: dict[str, Json] | None, ovs_bridge: str) -> PodsBridge | None:
    """The Linux bridge that the plugin before us put the pod on, None where sysfs shows none.

    Raises `ConfigInvalid` where its result can't be read.
    """
    names = [
        name
        for name in result.host_interfaces(prev_result or {})
        if not request.interface_name_fault(name)
    ]
    for name in names:
        try:
            folder = posix.open(f"{LINKS}/{name}", posix.O_PATH | posix.O_CLOEXEC)
        except OSError:
            continue
        try:
            if any(_has_port(folder, other) for other in names if other != name):
                return PodsBridge(
                    int(_read(folder, "mtu")),
                    has_overlay=_has_port(folder, ovs_bridge) and _is_up(folder, ovs_bridge),
                )
        except OSError:
            return None  # it went away in between
        finally:
            posix.close(folder)
    return None


def _has_port(bridge: int, link: str) -> bool:
    try:
        posix.stat(f"{PORTS}/{link}", dir_fd=bridge, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_up(neighbour: int, link: str) -> bool:
    return bool(int(_read(neighbour, f"../{link}/flags"), 16) & IFF_UP)


def _read(folder: int, path: str) -> bytes:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=folder)
    try:
        return posix.read(descriptor, LONGEST)
    finally:
        posix.close(descriptor)
