# SPDX-License-Identifier: Apache-2.0
"""Netlink messages without I/O: values to bytes and bytes to values.

Only what the plugin and flaxd say to the kernel, and `monitor` is told; the lab uses pyroute2.
Constants and layouts are those of linux/netlink.h, linux/rtnetlink.h, linux/if_link.h,
linux/genetlink.h and linux/net_namespace.h; all numbers are in host byte order.
"""

from __future__ import annotations

from _struct import calcsize, pack, unpack_from

from linen.core.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = "=IHHII"  # length, type, flags, sequence, port
HEADER_SIZE = calcsize(HEADER)
LINK = "=BxHiII"  # struct ifinfomsg: family, type, index, flags, change
LINK_SIZE = calcsize(LINK)
# struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
ROUTE = "=BBBBBBBBI"
ROUTE_SIZE = calcsize(ROUTE)
GENERIC = "=BBH"  # struct genlmsghdr: command, version, reserved

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
ERROR, DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK = 16, 18, 19
RTM_GETROUTE = 26
RTM_GETNSID = 90
GENERIC_CONTROL, GETFAMILY = 16, 3  # GENL_ID_CTRL, CTRL_CMD_GETFAMILY

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_LINK, IFLA_EXT_MASK, IFLA_LINK_NETNSID, IFLA_TARGET_NETNSID = 5, 29, 37, 46
IFLA_INFO_KIND = 1
IFLA_PROTINFO, IFLA_BRPORT_MULTICAST_ROUTER = 12, 25
NESTED = 1 << 15  # NLA_F_NESTED
MDB_RTR_TYPE_PERM = 2  # linux/if_bridge.h
SKIP_STATISTICS = 1 << 3  # RTEXT_FILTER_SKIP_STATS: 400 bytes a link that nobody reads
RTA_DST, RTA_OIF = 1, 4
NETNSA_NSID, NETNSA_FD = 1, 3
CTRL_ATTR_FAMILY_NAME = 2
ROUTE_LOCAL = 2  # RTN_LOCAL: the destination is an address of this host
IFF_UP = 0x1
AF_INET, AF_BRIDGE, AF_INET6 = 2, 7, 10


class NetlinkError(Exception):
    """The kernel's answer is an error. `errno` is positive."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class Link(Value):
    """A network device.

    `master`: index of the bridge it hangs on, 0 for none. `peer`: of a veth the index of its other
    end; `peer_netns`: id of the namespace which that is in, None where that is this one.
    `mac`: 6 bytes.
    """

    __slots__ = ("index", "kind", "mac", "master", "mtu", "name", "peer", "peer_netns", "up")

    def __init__(self, message: bytes) -> None:
        _, _, self.index, flags, _ = unpack_from(LINK, message, HEADER_SIZE)
        found = dict(attributes(message, HEADER_SIZE + LINK_SIZE))
        self.name = text(found.get(IFLA_IFNAME, b""))
        self.up = bool(flags & IFF_UP)
        self.master = number(found.get(IFLA_MASTER))
        self.mtu = number(found.get(IFLA_MTU))
        self.mac = found.get(IFLA_ADDRESS, b"")
        self.kind = text(
            dict(attributes(found.get(IFLA_LINKINFO, b""), 0)).get(IFLA_INFO_KIND, b"")
        )
        self.peer = number(found.get(IFLA_LINK))
        netns = found.get(IFLA_LINK_NETNSID)
        self.peer_netns: int | None = None if netns is None else unpack_from("=i", netns)[0]


class Route(Value):
    """Where packets to one address go: to `link` (its index), or nowhere but here (`is_local`)."""

    __slots__ = ("is_local", "link")

    def __init__(self, message: bytes) -> None:
        self.is_local = unpack_from(ROUTE, message, HEADER_SIZE)[7] == ROUTE_LOCAL
        self.link = number(dict(attributes(message, HEADER_SIZE + ROUTE_SIZE)).get(RTA_OIF))


def text(data: bytes) -> str:
    """A string attribute: up to its NUL; bytes that aren't UTF-8 become replacement characters."""
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")


def number(data: bytes | None) -> int:
    """A 32-bit attribute, 0 where it is absent."""
    return 0 if data is None else int(unpack_from("=I", data)[0])


def attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each attribute from `offset` on (struct rtattr, aligned to 4 bytes)."""
    while offset + 4 <= len(data):
        length, kind = unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    return pack("=HH", 4 + len(payload), kind) + payload + b"\0" * (-len(payload) & 3)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """One request."""
    return pack(HEADER, HEADER_SIZE + len(body), kind, REQUEST | flags, 1, 0) + body


def messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each message of a datagram.

    Raises `NetlinkError` for an error; an acknowledgement is one with number 0.
    """
    offset = 0
    while offset + HEADER_SIZE <= len(datagram):
        length, kind, _, _, _ = unpack_from(HEADER, datagram, offset)
        if length < HEADER_SIZE:
            return
        if kind == ERROR:
            failure = -unpack_from("=i", datagram, offset + HEADER_SIZE)[0]
            if failure:
                raise NetlinkError(failure)
        yield kind, datagram[offset : offset + length]
        offset += (length + 3) & ~3


def is_interrupted(message: bytes) -> bool:
    """Whether the kernel's list, which this is a part of, has changed while it was read.

    Then what was there all the time may be missing. Any part may say so, also the last, `DONE`
    (nl_dump_check_consistent, include/net/netlink.h).
    """
    return bool(unpack_from("=IHH", message)[2] & DUMP_INTERRUPTED)


def get_link(name: str, netns: int | None = None) -> bytes:
    """Ask for the link `name` (at most 15 bytes). `netns`: the id of another namespace to look in.

    The latter since Linux 4.15, for who has CAP_NET_ADMIN there (rtnl_get_net_ns_capable).
    """
    mask = attribute(IFLA_EXT_MASK, pack("=I", SKIP_STATISTICS))
    place = b"" if netns is None else attribute(IFLA_TARGET_NETNSID, pack("=i", netns))
    named = attribute(IFLA_IFNAME, name.encode() + b"\0")
    return message(RTM_GETLINK, 0, pack(LINK, 0, 0, 0, 0, 0) + named + mask + place)


def get_link_at(index: int) -> bytes:
    """Ask for the link with this index."""
    return message(RTM_GETLINK, 0, pack(LINK, 0, 0, index, 0, 0))


def get_links() -> bytes:
    """Ask for all links."""
    mask = attribute(IFLA_EXT_MASK, pack("=I", SKIP_STATISTICS))
    return message(RTM_GETLINK, DUMP, pack(LINK, 0, 0, 0, 0, 0) + mask)


def set_mac(index: int, mac: bytes) -> bytes:
    """Set a link's MAC address."""
    body = pack(LINK, 0, 0, index, 0, 0) + attribute(IFLA_ADDRESS, mac)
    return message(RTM_SETLINK, ACK, body)


def enslave(index: int, master: int, mtu: int) -> bytes:
    """Give a link this MTU, and hang it on the Linux bridge with index `master`."""
    body = pack(LINK, 0, 0, index, 0, 0)
    body += attribute(IFLA_MTU, pack("=I", mtu)) + attribute(IFLA_MASTER, pack("=I", master))
    return message(RTM_SETLINK, ACK, body)


def set_multicast_router(index: int) -> bytes:
    """Let a port of a Linux bridge have all multicast packets, whoever asked for them.

    The attribute stands beside the kernel's sysfs file `brport/multicast_router`.
    """
    body = pack(LINK, AF_BRIDGE, 0, index, 0, 0)
    always = attribute(IFLA_BRPORT_MULTICAST_ROUTER, pack("=B", MDB_RTR_TYPE_PERM))
    return message(RTM_SETLINK, ACK, body + attribute(IFLA_PROTINFO | NESTED, always))


def set_up(index: int) -> bytes:
    """Set a link up."""
    return message(RTM_SETLINK, ACK, pack(LINK, 0, 0, index, IFF_UP, IFF_UP))


def set_down(index: int) -> bytes:
    """Set a link down."""
    return message(RTM_SETLINK, ACK, pack(LINK, 0, 0, index, 0, IFF_UP))


def set_mtu(index: int, mtu: int) -> bytes:
    """Set a link's MTU, in bytes."""
    body = pack(LINK, 0, 0, index, 0, 0) + attribute(IFLA_MTU, pack("=I", mtu))
    return message(RTM_SETLINK, ACK, body)


def get_route(address: bytes) -> bytes:
    """Ask where packets to this address of 4 or 16 bytes go."""
    family = AF_INET if len(address) == 4 else AF_INET6
    body = pack(ROUTE, family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(RTA_DST, address)
    return message(RTM_GETROUTE, 0, body)


def get_netns_id(descriptor: int) -> bytes:
    """Ask for the id that this network namespace has for the one behind an open file."""
    return message(RTM_GETNSID, 0, pack("=Bxxx", 0) + attribute(NETNSA_FD, pack("=I", descriptor)))


def netns_id(reply: bytes) -> int:
    """The answer to `get_netns_id`: negative where there is none."""
    payload = dict(attributes(reply, HEADER_SIZE + 4)).get(NETNSA_NSID)
    return -1 if payload is None else int(unpack_from("=i", payload)[0])


def get_family(name: str) -> bytes:
    """Ask for a generic netlink family. The kernel's error is ENOENT where it has none."""
    body = pack(GENERIC, GETFAMILY, 1, 0) + attribute(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")
    return message(GENERIC_CONTROL, 0, body)
