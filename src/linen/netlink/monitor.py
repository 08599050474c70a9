# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about links and addresses, as it happens, for the daemon (asyncio).

The kernel drops notifications where the socket's buffer is full, and says so (ENOBUFS,
netlink(7)). Then all is read afresh on a new socket, as at the start: what an old one still holds
is older than what was dropped.
To ask or to order something, use `blocking.Netlink`, which never waits.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from linen.light import sock
from linen.netlink import codec
from linen.netlink.blocking import DATAGRAM, ROUTING, Netlink

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

# linux/rtnetlink.h, linux/if_addr.h
RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 17, 20, 21, 22
GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
ADDRESS = "=BBBBI"  # struct ifaddrmsg: family, prefix length, flags, scope, index
ADDRESS_SIZE = struct.calcsize(ADDRESS)
IFA_ADDRESS, IFA_LOCAL = 1, 2
PASSING = 0x01 | 0x20  # IFA_F_SECONDARY, which is IFA_F_TEMPORARY for IPv6, and IFA_F_DEPRECATED

RECEIVE_BUFFER = 1 << 20  # bytes, at most net.core.rmem_max


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address of this host. `link`: the index of the link that it is on.

    `is_passing`: not made to last: a second one in its network, a temporary one, or one whose time
    is over.
    """

    link: int
    ip: str
    prefix_length: int
    scope: int  # 0 global, 253 link, 254 host (RT_SCOPE_..., linux/rtnetlink.h)
    is_passing: bool

    @property
    def is_host(self) -> bool:
        """Whether it stands for one host and no network, as one does that moves among hosts."""
        return self.prefix_length == (128 if ":" in self.ip else 32)


class Monitor:
    """The links and addresses of this process's network namespace, while `run` runs.

    `on_change`: called when they have been read, and after each notification that is a change to
    them, which most aren't. It should do no more than set an event.
    `receive_buffer`: bytes of notifications that the kernel may keep for us.
    """

    def __init__(
        self, on_change: Callable[[], None], *, receive_buffer: int = RECEIVE_BUFFER
    ) -> None:
        self.addresses: set[Address] = set()
        # Of everything: one at the start, and one after each overrun. For tests, which see no other
        # difference between what was read anew and what was followed.
        self.reads = 0
        self._links: dict[int, codec.Link] = {}
        self._on_change = on_change
        self._receive_buffer = receive_buffer

    @property
    def links(self) -> dict[str, codec.Link]:
        """All links by name."""
        return {link.name: link for link in self._links.values()}

    def addresses_of(self, name: str) -> list[Address]:
        """The addresses of the link `name`, none without the link.

        First comes what others know it by: of larger scope, made to last, and of a network.
        """
        indexes = {link.index for link in self._links.values() if link.name == name}
        found = [address for address in self.addresses if address.link in indexes]
        return sorted(found, key=lambda a: (a.scope, a.is_passing, a.is_host, a.ip))

    def links_with(self, ip: str) -> list[codec.Link]:
        """The links that have this address."""
        indexes = {address.link for address in self.addresses if address.ip == ip}
        return [link for link in self.links.values() if link.index in indexes]

    async def run(self) -> NoReturn:
        """Follow the kernel until cancelled."""
        while True:
            with self._subscribe() as notifications:
                self._read_everything()
                self._on_change()
                await self._follow(notifications)

    def _subscribe(self) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        subscription = socket.socket(socket.AF_NETLINK, kind, ROUTING)
        try:
            option = socket.SO_RCVBUF
            subscription.setsockopt(socket.SOL_SOCKET, option, self._receive_buffer)
            subscription.bind((0, GROUPS))
        except BaseException:
            subscription.close()
            raise
        return subscription

    def _read_everything(self) -> None:
        """Read all links and addresses. What changes meanwhile is in the subscription."""
        kernel = Netlink()
        try:
            self._links = {link.index: link for link in kernel.links()}
            self.addresses = {
                _address(message)
                for kind, message in kernel.dump(_get_addresses())
                if kind == RTM_NEWADDR
            }
        finally:
            kernel.close()
        self.reads += 1

    async def _follow(self, notifications: socket.socket) -> None:
        """Deal with notifications until the kernel had to drop one."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                datagram = await loop.sock_recv(notifications, DATAGRAM)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return
                raise
            changes = [self._apply(*message) for message in codec.messages(datagram)]
            if any(changes):
                self._on_change()

    def _apply(self, kind: int, message: bytes) -> bool:
        """Deal with one notification; whether it is a change."""
        if kind in {codec.RTM_NEWLINK, RTM_DELLINK}:
            return self._apply_link(kind, message)
        if kind in {RTM_NEWADDR, RTM_DELADDR}:
            return self._apply_address(kind, message)
        return False

    def _apply_link(self, kind: int, message: bytes) -> bool:
        # A bridge speaks of its ports in messages of its own family. A port that leaves it is a
        # "deleted link" there.
        if struct.unpack_from(codec.LINK, message, codec.HEADER_SIZE)[0] != socket.AF_UNSPEC:
            return False
        link = codec.Link(message)
        before = self._links.get(link.index)
        if kind == RTM_DELLINK:
            self._links.pop(link.index, None)
            return before is not None
        self._links[link.index] = link
        return before != link

    def _apply_address(self, kind: int, message: bytes) -> bool:
        address = _address(message)
        before = self.addresses & {address, replace(address, is_passing=not address.is_passing)}
        self.addresses -= before
        if kind == RTM_DELADDR:
            return bool(before)
        self.addresses.add(address)
        return address not in before


def _get_addresses() -> bytes:
    """Ask for all addresses."""
    return codec.message(RTM_GETADDR, codec.DUMP, struct.pack(ADDRESS, 0, 0, 0, 0, 0))


def _address(message: bytes) -> Address:
    offset = codec.HEADER_SIZE
    _, prefix_length, flags, scope, link = struct.unpack_from(ADDRESS, message, offset)
    found = dict(codec.attributes(message, offset + ADDRESS_SIZE))
    # On a point-to-point link IFA_ADDRESS is the other end's.
    ip = sock.ip_text(found.get(IFA_LOCAL) or found[IFA_ADDRESS])
    return Address(link, ip, prefix_length, scope, bool(flags & PASSING))
