# SPDX-License-Identifier: Apache-2.0
"""A list of the kernel's that changes while it is read is read again, as it may have lost some."""

from __future__ import annotations

import errno
from _struct import pack
from typing import TYPE_CHECKING

import pytest

from linen.netlink import codec
from linen.netlink.blocking import DUMP_ATTEMPTS, whole_dump

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUEST = codec.get_links()
MULTI = 0x2  # NLM_F_MULTI, linux/netlink.h
INTERRUPTED = MULTI | 0x10  # NLM_F_DUMP_INTR


def part(kind: int, flags: int, text: bytes = b"\0" * 4) -> bytes:
    """One message of a list."""
    return pack(codec.HEADER, codec.HEADER_SIZE + len(text), kind, flags, 1, 0) + text


def links(*names: bytes, flags: int = MULTI) -> bytes:
    """A datagram with these links."""
    return b"".join(part(codec.RTM_NEWLINK, flags, name) for name in names)


END = part(codec.DONE, MULTI)
INTERRUPTED_END = part(codec.DONE, INTERRUPTED)


class Kernel:
    """A socket that answers each request by the next of these lists of datagrams."""

    def __init__(self, answers: Iterable[list[bytes]]) -> None:
        self._answers = iter(answers)
        self._datagrams: list[bytes] = []
        self.requests = 0

    def send(self, data: bytes) -> int:
        """Take a request, once the answer to the one before was read to its end."""
        assert data == REQUEST
        assert self._datagrams == []
        self._datagrams = list(next(self._answers))
        self.requests += 1
        return len(data)

    def recv(self, _size: int) -> bytes:
        """The next datagram."""
        return self._datagrams.pop(0)


def texts(found: list[tuple[int, bytes]]) -> list[bytes]:
    """What the messages carry."""
    return [message[codec.HEADER_SIZE :] for _, message in found]


def test_a_list_that_does_not_change() -> None:
    """A list that does not change is read once, in as many pieces as there are."""
    kernel = Kernel([[links(b"kbr0", b"veth"), links(b"br0.") + END]])

    assert texts(whole_dump(kernel, REQUEST)) == [b"kbr0", b"veth", b"br0."]
    assert kernel.requests == 1


@pytest.mark.parametrize(
    "interrupted",
    [
        [links(b"kbr0"), links(b"br0.", flags=INTERRUPTED), END],
        [links(b"kbr0", flags=INTERRUPTED) + END],
        [links(b"kbr0"), INTERRUPTED_END],
    ],
    ids=["in between", "at the start", "at the end"],
)
def test_a_list_that_changes_meanwhile(interrupted: list[bytes]) -> None:
    """A list that changes meanwhile is read again, and nothing of the first reading counts."""
    kernel = Kernel([interrupted, [links(b"kbr0", b"veth") + END]])

    assert texts(whole_dump(kernel, REQUEST)) == [b"kbr0", b"veth"]


def test_a_list_that_never_comes_to_rest() -> None:
    """A list that changes each time is an error after some attempts, never taken for whole."""
    kernel = Kernel([[links(b"kbr0"), INTERRUPTED_END]] * DUMP_ATTEMPTS)

    with pytest.raises(codec.NetlinkError) as refused:
        whole_dump(kernel, REQUEST)

    assert refused.value.errno == errno.EINTR
    assert kernel.requests == DUMP_ATTEMPTS
