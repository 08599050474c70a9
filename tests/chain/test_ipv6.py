# SPDX-License-Identifier: Apache-2.0
"""The whole chain with IPv6, run by the real cnitool: pods of IPv6 or both, peers over IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cni import Chain, plugin_entry
from support.conflists import example
from support.host import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from chain.conftest import Attached
    from support.host import Host

VTEPS = ["fd00:245::2", "FD00:245:0::3", "10.245.2.4"]
REMOTES = {"fd00:245::2", "fd00:245::3", "10.245.2.4"}
LEASES = "/var/lib/cni/networks/linen-network"
RANGES = {
    "10.244.1.10/16": {
        "subnet": "10.244.0.0/16",
        "rangeStart": "10.244.1.10",
        "rangeEnd": "10.244.1.20",
        "gateway": "10.244.1.1",
    },
    "fd00:244::a/48": {
        "subnet": "fd00:244::/48",
        "rangeStart": "fd00:244::a",
        "rangeEnd": "fd00:244::ff",
        "gateway": "fd00:244::1",
    },
}
PODS = {"ipv6": ["fd00:244::a/48"], "dual": list(RANGES)}


@pytest.fixture
def pods() -> str:
    """The IP versions of pods."""
    return "dual"


@pytest.fixture
def chain(host: Host, cni_path: Path, pods: str) -> Chain:
    """The master's example network with other pods and peers, version 1.1.0, on a fresh host."""
    conflist = example("master", "1.1.0")
    ranges = [[RANGES[address]] for address in PODS[pods]]
    plugin_entry(conflist, "bridge")["ipam"] = {"type": "host-local", "ranges": ranges}
    plugin_entry(conflist, "linen")["ovs"]["vtepIPs"] = VTEPS
    return Chain(host, conflist, cni_path)


def leases(host: Host) -> list[str]:
    """The addresses that host-local has given out."""
    names = host.run("ls", LEASES).stdout.split()
    return [name for name in names if name.startswith(("10.", "fd00:"))]


def remotes(host: Host) -> dict[str, str]:
    """By its name, where each tunnel leads."""
    rows = host.records("Interface", "name", "type", "options")
    return {row["name"]: row["options"]["remote_ip"] for row in rows if row["type"] == "vxlan"}


@pytest.mark.parametrize("pods", PODS)
def test_from_add_to_delete(chain: Chain, pods: str) -> None:
    """The result has the pod's addresses, CHECK is content, and DEL and GC leave no lease."""
    added = chain.add("one")
    again = chain.add("two")

    assert [ip["address"] for ip in added["ips"]] == PODS[pods]
    assert len(again["ips"]) == len(PODS[pods])
    assert set(remotes(chain.host).values()) == REMOTES
    assert max(map(len, remotes(chain.host))) <= 15
    for pod in "one", "two":
        assert chain.check(pod).status == 0, chain.check(pod)

    assert chain.delete("one").status == 0
    assert chain.run("status", "two").status == 0
    assert chain.run("gc", "two").status == 0  # of which cnitool says that no pod is there
    assert leases(chain.host) == []
    assert set(remotes(chain.host).values()) == REMOTES


def test_a_lost_tunnel(attached: Attached) -> None:
    """CHECK names a tunnel over IPv6 that is gone by its peer, and the next ADD makes it again."""
    conf = attached.with_options(vtepIPs=VTEPS)
    attached.call("ADD", conf).result()
    (name,) = [name for name, to in remotes(attached.host).items() if to == "fd00:245::3"]
    attached.host.vsctl("del-port", name)

    assert "fd00:245::3" in attached.call("CHECK", conf).error(100)

    attached.call("ADD", conf).result()
    assert remotes(attached.host)[name] == "fd00:245::3"
    attached.call("CHECK", conf).assert_empty_success()


@pytest.mark.parametrize("others", [1, 20])
@pytest.mark.parametrize("own", ["fd00:245::9", "10.245.2.9"])
def test_own_address_is_skipped(attached: Attached, own: str, others: int) -> None:
    """This node's own address may stand in the list that all nodes share, also if it comes late.

    A tunnel that was made while it was no address of this node's yet, as when pods start before
    the underlay is set up, goes with the next ADD, whatever the list's length.
    """
    peers = [f"fd00:245::1:{number}" for number in range(others)]
    shared = attached.with_options(topology="mesh", vtepIPs=[own, *peers])
    attached.call("ADD", shared).result()
    attached.host.add_underlay(own + ("/64" if ":" in own else "/24"))
    wait_until(lambda: is_own(attached.host, own), f"{own} to be this node's")

    assert own in attached.call("CHECK", shared).error(100)
    attached.call("ADD", shared).result()

    assert set(remotes(attached.host).values()) == set(peers)
    attached.call("CHECK", shared).assert_empty_success()


def is_own(host: Host, address: str) -> bool:
    """Whether packets to an address stay on this host: not before no other host has it (DAD)."""
    return host.run("ip", "route", "get", address, check=False).stdout.startswith("local")


@pytest.mark.parametrize(
    ("vtep", "said"),
    [
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("::", "unspecified"),
        ("::ffff:10.245.2.4", "write 10.245.2.4"),
        ("fd00::1%eth0", "not an IPv4 or IPv6 address"),
        ("[fd00::1]", "not an IPv4 or IPv6 address"),
    ],
)
def test_what_is_no_peer(attached: Attached, vtep: str, said: str) -> None:
    """An IPv6 address that no tunnel can lead to is a wrong configuration, and why is said."""
    text = attached.call("ADD", attached.with_options(vtepIPs=[vtep])).error(7)

    assert said in text
    assert "vtepIPs" in text
