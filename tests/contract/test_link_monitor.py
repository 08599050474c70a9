# SPDX-License-Identifier: Apache-2.0
"""The daemon's view of links and addresses against the kernel, with iproute2 and pyroute2."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pyroute2
import pyroute2.netns
import pytest

from linen.netlink.blocking import Netlink
from linen.netlink.monitor import Monitor
from support.notices import Notice, running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from support.host import Host


def run_inside(host: Host, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in a thread that is in the host's network namespace."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            pyroute2.netns.setns(f"/proc/{host.pid}/ns/net")
            asyncio.run(scenario())
        except BaseException as error:  # noqa: BLE001  (it's raised in the test's thread)
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def ip(host: Host, command: str) -> None:
    """Run iproute2 on the host."""
    host.run("ip", *command.split())


def plain_links(monitor: Monitor) -> dict[str, Any]:
    """The links as `listed_links` describes them."""
    names = {link.index: name for name, link in monitor.links.items()}
    return {
        name: {
            "index": link.index,
            "kind": link.kind,
            "mac": link.mac.hex(":"),
            "master": names.get(link.master),
            "mtu": link.mtu,
            "up": link.up,
        }
        for name, link in monitor.links.items()
    }


def listed_links(host: Host) -> dict[str, Any]:
    """The links as iproute2 shows them."""
    return {
        name: {
            "index": link["ifindex"],
            "kind": link.get("linkinfo", {}).get("info_kind", ""),
            "mac": link.get("address", ""),
            "master": link.get("master"),
            "mtu": link["mtu"],
            "up": "UP" in link["flags"],
        }
        for name, link in host.links().items()
    }


def plain_addresses(monitor: Monitor) -> set[tuple[str, str, int]]:
    return {
        (name, address.ip, address.prefix_length)
        for name in monitor.links
        for address in monitor.addresses_of(name)
    }


def listed_addresses(host: Host) -> set[tuple[str, str, int]]:
    """The addresses as iproute2 shows them."""
    return {
        (link["ifname"], address["local"], address["prefixlen"])
        for link in json.loads(host.run("ip", "-json", "address").stdout)
        for address in link["addr_info"]
    }


async def names_by_pyroute2() -> set[str]:
    async with pyroute2.AsyncIPRoute() as oracle:
        return {link.get("ifname") async for link in await oracle.get_links()}


async def same_links(host: Host, monitor: Monitor, notice: Notice) -> None:
    """Wait until the monitor has the links that iproute2 shows."""
    await notice.until(lambda: plain_links(monitor) == listed_links(host), "the same links")


async def same_addresses(host: Host, monitor: Monitor, notice: Notice) -> None:
    """Wait until the monitor has the addresses that iproute2 shows; the kernel adds some itself."""
    same = "the same addresses"
    await notice.until(lambda: plain_addresses(monitor) == listed_addresses(host), same)


CHANGES = """
link add kbr0 mtu 1400 type bridge
link add veth0 type veth peer name eth0 netns /run/netns/pod
link set veth0 master kbr0 up
link set kbr0 up
link add br0 type veth peer name br0-end
link set br0 master kbr0
link set br0 address 02:00:00:00:00:01
link set br0 mtu 1350
link set br0 nomaster
link set br0 name br1
link set kbr0 down
link set br1 netns /run/netns/pod
-netns pod link set br1 netns 1
link delete veth0
link delete kbr0
"""


def test_follows_every_change(host: Host) -> None:
    """After each change the links are what iproute2 shows, and pyroute2 at the end."""
    host.add_namespace("pod")

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        async with running(monitor.run()):
            await notice.until(lambda: notice.calls, "the first reading")
            for line in CHANGES.strip().splitlines():
                ip(host, line)
                await same_links(host, monitor, notice)
            assert monitor.reads == 1
            assert monitor.links.keys() == await names_by_pyroute2()

    run_inside(host, scenario)


def test_first_reading(host: Host) -> None:
    """What was there before is known at the first notice: links, addresses, peers' namespaces."""
    host.add_namespace("pod")
    host.add_underlay("10.245.2.9/24")
    ip(host, "link add veth0 type veth peer name eth0 netns /run/netns/pod")

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        async with running(monitor.run()):
            await notice.until(lambda: notice.calls, "the first reading")
            assert plain_links(monitor) == listed_links(host)
            await same_addresses(host, monitor, notice)
            assert monitor.addresses_of("underlay")[0].ip == "10.245.2.9"
            assert monitor.addresses_of("nobody") == []
            kernel = Netlink()
            assert {link.name: link for link in kernel.links()} == monitor.links
            kernel.close()

    run_inside(host, scenario)


def test_addresses(host: Host) -> None:
    """An address that comes or goes, of either family, wakes the daemon."""
    host.add_underlay("10.245.2.9/24")

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        async with running(monitor.run()):
            for change in (
                "add 10.245.2.10/24 dev underlay",
                "add fd00::2/64 dev underlay nodad",
                "add 10.9.0.1 peer 10.9.0.2/32 dev underlay",
                "delete 10.245.2.9/24 dev underlay",
                "flush dev underlay",
            ):
                ip(host, f"address {change}")
                await same_addresses(host, monitor, notice)

    run_inside(host, scenario)


@pytest.mark.parametrize(
    ("main", "others"),
    [
        ("10.245.2.9/24", ["10.245.2.10/24", "10.245.1.1/32"]),
        ("fd00::9/64", ["fd00::1/64 nodad preferred_lft 0", "fd00::2/128 nodad"]),
    ],
)
def test_address_that_stays(host: Host, main: str, others: list[str]) -> None:
    """A device's first address is the one that it was given to keep, whatever comes beside it.

    Not a second one of the same network, one whose time is over, or one for this host alone, as
    addresses are that move from host to host.
    """
    host.add_underlay(main)
    kept = main.partition("/")[0]

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        async with running(monitor.run()):
            await notice.until(lambda: monitor.addresses, "the first reading")
            for other in others:
                host.run("ip", "address", "add", *other.split(), "dev", "underlay")
                await same_addresses(host, monitor, notice)
                assert monitor.addresses_of("underlay")[0].ip == kept
            host.run("ip", "address", "delete", main, "dev", "underlay")
            await same_addresses(host, monitor, notice)
            assert monitor.addresses_of("underlay")[0].ip != kept

    run_inside(host, scenario)


def test_address_that_is_promoted(host: Host) -> None:
    """A secondary address that takes the first one's place is known once, as what it has become."""
    host.add_underlay("10.245.2.9/24")
    host.run("sysctl", "-w", "net.ipv4.conf.underlay.promote_secondaries=1")
    ip(host, "address add 10.245.2.1/24 dev underlay")

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        async with running(monitor.run()):
            await notice.until(lambda: monitor.addresses, "the first reading")
            ip(host, "address delete 10.245.2.9/24 dev underlay")
            await same_addresses(host, monitor, notice)

            def promoted() -> list[tuple[str, bool]]:
                found = monitor.addresses_of("underlay")
                return [(one.ip, one.is_passing) for one in found if one.scope == 0]

            await notice.until(lambda: promoted() == [("10.245.2.1", False)], "the promotion")

    run_inside(host, scenario)


def test_notifications_that_change_nothing_wake_nobody(host: Host) -> None:
    """A port's own messages, an address's lifetime, and what isn't looked at wake nobody."""
    ip(host, "link add kbr0 type bridge")
    ip(host, "link add br0 type veth peer name br0-end")
    ip(host, "link set br0 master kbr0 up")
    ip(host, "address add 10.9.0.1/24 dev kbr0")

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        async with running(monitor.run()):
            await notice.until(lambda: notice.calls, "the first reading")
            before = notice.calls
            ip(host, "link set br0 alias whatever")
            ip(host, "link set br0 type bridge_slave isolated on")
            ip(host, "address change 10.9.0.1/24 dev kbr0 valid_lft 900 preferred_lft 9")
            ip(host, "link set kbr0 mtu 1300")
            await notice.until(lambda: monitor.links["kbr0"].mtu == 1300, "the real change")
            assert notice.calls == before + 1
            assert monitor.links["br0"].master

    run_inside(host, scenario)


def test_overrun(host: Host) -> None:
    """When the kernel had to drop notifications, the links are right all the same."""
    batch = host.folder / "batch"
    names = [f"d{number}" for number in range(60)]
    lines = [f"link add {name} type bridge" for name in names]
    lines += [f"link delete {name}" for name in names[::2]]
    batch.write_text("\n".join(lines))

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice, receive_buffer=1)  # the kernel makes it its minimum
        async with running(monitor.run()):
            await notice.until(lambda: notice.calls, "the first reading")
            host.run("ip", "-batch", batch)  # meanwhile nobody reads
            await same_links(host, monitor, notice)
            assert monitor.reads > 1
            ip(host, "link set d1 mtu 1300")
            await notice.until(lambda: monitor.links["d1"].mtu == 1300, "a change after it")

    run_inside(host, scenario)


def test_enslaving_is_noticed(host: Host) -> None:
    """What we order ourselves comes back as a change, and what others undo too."""
    ip(host, "link add kbr0 type bridge")
    ip(host, "link add br0 type veth peer name br0-end")

    async def scenario() -> None:
        notice = Notice()
        monitor = Monitor(notice)
        kernel = Netlink()
        async with running(monitor.run()):
            await notice.until(lambda: notice.calls, "the first reading")
            kbr0 = monitor.links["kbr0"]
            kernel.enslave(monitor.links["br0"], kbr0)
            await notice.until(lambda: monitor.links["br0"].master == kbr0.index, "its master")
            ip(host, "link set br0 nomaster")
            await notice.until(lambda: not monitor.links["br0"].master, "its loss")
        kernel.close()

    run_inside(host, scenario)
