# SPDX-License-Identifier: Apache-2.0
"""The pod's Linux bridge as sysfs shows it, which costs no waiting.

Netlink answers what it is asked about links under one lock of the whole kernel (RTNL), for which
all that starts a pod queues: `bridge`, the making of network namespaces, Open vSwitch. Where many
pods start at once, a single question waits for a second. sysfs has the little that an ADD wants to
know where all is in order already, and takes no such lock.

sysfs shows the network namespace of whoever mounted it, which need not be ours. It is if the bridge
there has the pod's own link, whose name the plugin before us has just made up.
"""

from __future__ import annotations

import posix

from linen.cni import request, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.light.json import Json

LINKS = "/sys/class/net"
PORTS = "brif"  # of a Linux bridge alone: a folder with an entry for each of its ports
IFF_UP = 0x1  # linux/if.h
LONGEST = 32  # bytes of an attribute that is a number


class PodsBridge:
    """A Linux bridge that has the pod's link. `mtu`: in bytes."""

    __slots__ = ("mtu", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.mtu = int(_read(f"{name}/mtu"))

    def carries(self, port: str) -> bool:
        """Whether a link is a port of the bridge and set up, so that packets pass."""
        if not _exists(f"{self.name}/{PORTS}/{port}"):
            return False
        try:
            return bool(int(_read(f"{port}/flags"), 16) & IFF_UP)
        except OSError:
            return False  # it went away in between


def find_pods_bridge(prev_result: dict[str, Json] | None) -> PodsBridge | None:
    """The Linux bridge that the plugin before us put the pod on, None where sysfs shows none.

    Raises `ConfigInvalid` where its result can't be read.
    """
    names = [
        name
        for name in result.host_interfaces(prev_result or {})
        if not request.interface_name_fault(name)
    ]
    for name in names:
        folder = f"{name}/{PORTS}"
        if _exists(folder) and any(_exists(f"{folder}/{other}") for other in names):
            try:
                return PodsBridge(name)
            except OSError:
                return None  # it went away in between
    return None


def _exists(path: str) -> bool:
    try:
        posix.stat(f"{LINKS}/{path}")
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    descriptor = posix.open(f"{LINKS}/{path}", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(descriptor, LONGEST)
    finally:
        posix.close(descriptor)
