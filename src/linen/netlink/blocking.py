# SPDX-License-Identifier: Apache-2.0
"""The plugin's few questions and orders to the kernel, one datagram each.

Netlink answers at once, from within the system call that sends, so nothing here waits.
"""

from __future__ import annotations

import errno

from linen.light import sock
from linen.netlink import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from linen.netlink.codec import Link, Route

    class Socket(Protocol):
        """What is used of a socket."""

        def send(self, data: bytes, /) -> int:
            """Send a datagram."""

        def recv(self, size: int, /) -> bytes:
            """The next datagram."""


ROUTING, GENERIC = 0, 16  # NETLINK_ROUTE, NETLINK_GENERIC
OVS_DATAPATH_FAMILY = "ovs_datapath"  # linux/openvswitch.h
DATAGRAM = 1 << 16  # bytes: above the 32 KiB that the kernel puts into one piece of a dump
DUMP_ATTEMPTS = 50  # where hundreds of pods start, every other dump of links may be interrupted
ABSENT = (errno.ENODEV, errno.ENOENT)
# No route, or one that says no; EOPNOTSUPP: the kernel knows none of this IP version, as of IPv6
# with ipv6.disable=1 (rtnetlink_rcv_msg, net/core/rtnetlink.c).
UNREACHABLE = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EINVAL,
    errno.EACCES,
    errno.EOPNOTSUPP,
)


class Netlink:
    """A conversation with the kernel about the network namespace of this process."""

    def __init__(self) -> None:
        self._socket = sock.netlink_socket(ROUTING)

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def find_link(self, name: str, netns: int | None = None) -> Link | None:
        """The link `name`, None where there is none. `netns`: id of a namespace other than ours."""
        return self._find_link(codec.get_link(name, netns))

    def find_link_at(self, index: int) -> Link | None:
        """The link with this index, None where there is none."""
        return self._find_link(codec.get_link_at(index))

    def _find_link(self, request: bytes) -> Link | None:
        try:
            return codec.Link(self.ask(request))
        except codec.NetlinkError as error:
            if error.errno in ABSENT:
                return None
            raise

    def links(self) -> list[Link]:
        """All links."""
        answers = self.dump(codec.get_links())
        return [codec.Link(message) for kind, message in answers if kind == codec.RTM_NEWLINK]

    def dump(self, request: bytes) -> list[tuple[int, bytes]]:
        """Type and bytes of each message of the long answer to `request`, which is whole."""
        return whole_dump(self._socket, request)

    def enslave(self, link: Link, master: Link) -> None:
        """Hang `link` on the Linux bridge `master`, which keeps its MAC and MTU, and set it up.

        A Linux bridge takes the lowest MAC of its ports until somebody sets one. Then every pod
        has a stale neighbour entry for its gateway, half a minute long. So the MAC is set first,
        to what it is. Likewise the bridge takes the smallest MTU of its ports, so `link` is given
        the bridge's before it joins.

        Of multicast packets `link` gets all. A Linux bridge forwards them to who has asked for them
        as soon as one pod has sent a query for members (RFC 3810), and behind `link` are all other
        nodes' pods, whose answers need not come through; so their neighbour solicitations, which
        are multicast, would no longer reach them.

        A link that is up has all of this: that comes last, so that who is killed before leaves one
        that is visibly not ready.

        Both are read anew first. Another may have put `link` there by now, and since then running
        pods know the MAC; and a pod that has joined the Linux bridge may have changed it, and its
        ADD have told the new one.
        """
        link = self._known_link(link.index)
        if link.master == master.index and link.up:
            return
        if link.up:
            self.ask(codec.set_down(link.index))
        master = self._known_link(master.index)
        self.ask(codec.set_mac(master.index, master.mac))
        self.ask(codec.enslave(link.index, master.index, master.mtu))
        self.ask(codec.set_multicast_router(link.index))
        self.ask(codec.set_up(link.index))

    def _known_link(self, index: int) -> Link:
        """The link with this index. Raises `NetlinkError` where it is gone."""
        return codec.Link(self.ask(codec.get_link_at(index)))

    def set_mtu(self, link: Link, mtu: int) -> None:
        """Give `link` an MTU, in bytes. A Linux bridge no longer takes its ports' smallest then."""
        self.ask(codec.set_mtu(link.index, mtu))

    def find_route(self, address: str) -> Route | None:
        """Where packets to an IP address go, None where there is no route."""
        try:
            return codec.Route(self.ask(codec.get_route(sock.ip_bytes(address))))
        except codec.NetlinkError as error:
            if error.errno in UNREACHABLE:
                return None
            raise

    def own_addresses(self, addresses: Iterable[str]) -> set[str]:
        """Those of some IP addresses that are this node's own."""
        own = set()
        for address in addresses:
            route = self.find_route(address)
            if route is not None and route.is_local:
                own.add(address)
        return own

    def netns_id(self, descriptor: int) -> int:
        """The id of the namespace behind an open file, as links name it; negative for none."""
        return codec.netns_id(self.ask(codec.get_netns_id(descriptor)))

    def ask(self, request: bytes) -> bytes:
        """The answer to a request that has one of one message. Raises `NetlinkError`."""
        self._socket.send(request)
        reply: bytes = self._socket.recv(DATAGRAM)
        for _, message in codec.messages(reply):
            return message
        raise codec.NetlinkError(errno.EBADMSG)


def whole_dump(socket: Socket, request: bytes) -> list[tuple[int, bytes]]:
    """Type and bytes of each message of the long answer to `request`.

    The kernel makes it in pieces. Where its list has changed in between, it is asked again.
    Raises `NetlinkError`, with EINTR where it does not come to rest.
    """
    for _ in range(DUMP_ATTEMPTS):
        found, is_whole = _dump(socket, request)
        if is_whole:
            return found
    raise codec.NetlinkError(errno.EINTR)


def _dump(socket: Socket, request: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """A long answer, and whether nothing changed meanwhile; read to its end in any case."""
    socket.send(request)
    found: list[tuple[int, bytes]] = []
    is_whole = True
    while True:
        for kind, message in codec.messages(socket.recv(DATAGRAM)):
            is_whole = is_whole and not codec.is_interrupted(message)
            if kind == codec.DONE:
                return found, is_whole
            found.append((kind, message))


def has_generic_family(name: str) -> bool:
    """Whether the kernel offers a generic netlink family, as the one of its module openvswitch."""
    control = sock.netlink_socket(GENERIC)
    try:
        control.send(codec.get_family(name))
        for _ in codec.messages(control.recv(DATAGRAM)):
            return True
    except codec.NetlinkError as error:
        if error.errno not in ABSENT:
            raise
    finally:
        control.close()
    return False
