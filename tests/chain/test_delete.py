# SPDX-License-Identifier: Apache-2.0
"""DEL: never fails for what is gone already, never keeps the chain from giving the address back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cni import call

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.cni import Chain

LEASES = "/var/lib/cni/networks/linen-network"


def leases(chain: Chain) -> list[str]:
    """The addresses that host-local has given out."""
    names = chain.host.run("ls", LEASES).stdout.split()
    return [name for name in names if name.startswith("10.")]


def test_twice(chain: Chain) -> None:
    """DEL of the same pod succeeds again and again."""
    chain.add("pod")
    for _ in range(3):
        assert chain.delete("pod").status == 0
    assert leases(chain) == []


def test_other_pods_keep_their_overlay(chain: Chain) -> None:
    """The overlay belongs to the node: DEL of one pod, even of the last, changes nothing in it."""
    chain.add("one")
    chain.add("two")
    before = chain.host.vsctl("show")

    assert chain.delete("one").status == 0
    assert chain.check("two").status == 0
    assert chain.delete("two").status == 0
    assert chain.host.vsctl("show") == before


def test_namespace_is_gone(chain: Chain) -> None:
    """DEL succeeds when the pod's namespace has been removed before."""
    chain.add("pod")
    chain.host.run("ip", "netns", "delete", "pod")

    assert chain.delete("pod").status == 0
    assert leases(chain) == []


@pytest.mark.parametrize("netns", ["", None, "/run/netns/never-was"])
def test_namespace_is_not_named(attached: Attached, netns: str | None) -> None:
    """DEL succeeds with CNI_NETNS empty, absent, or naming nothing."""
    attached.call("ADD").result()
    attached.call("DEL", netns=netns).assert_empty_success()


def test_without_result(attached: Attached) -> None:
    """DEL succeeds without prevResult, as below 0.4.0 and after a lost cache."""
    conf = attached.conf()
    del conf["prevResult"]

    call(attached.host, attached.plugin, "DEL", conf).assert_empty_success()


def test_never_added(attached: Attached) -> None:
    """DEL succeeds where ADD never was."""
    attached.call("DEL").assert_empty_success()
    assert attached.host.vsctl("list-br") == ""


def test_everything_of_ours_was_removed_by_hand(chain: Chain) -> None:
    """DEL succeeds when the OVS bridge and the Linux bridge are gone."""
    chain.add("pod")
    chain.host.vsctl("del-br", "br0")
    chain.host.run("ip", "link", "delete", "kbr0")

    assert chain.delete("pod").status == 0
    assert leases(chain) == []


@pytest.mark.parametrize(
    ("signal", "daemon"),
    [
        ("KILL", "ovsdb-server"),
        ("STOP", "ovsdb-server"),
        ("KILL", "ovs-vswitchd"),
        ("STOP", "ovs-vswitchd"),
    ],
)
def test_open_vswitch_is_gone(chain: Chain, signal: str, daemon: str) -> None:
    """Whatever is the matter with Open vSwitch, DEL ends, and bridge's DEL runs after ours."""
    chain.add("pod")
    chain.host.signal(signal, daemon)

    answer = chain.delete("pod")

    assert answer.status == 0, answer
    assert leases(chain) == []


def test_after_a_failed_add(chain: Chain) -> None:
    """A runtime that calls DEL after a failed ADD finds nothing in its way, and nothing is left."""
    chain.linen["ovs"]["colour"] = "blue"
    chain.write(chain.conflist)
    chain.host.add_namespace("pod")
    assert chain.run("add", "pod").status == 1
    del chain.linen["ovs"]["colour"]
    chain.write(chain.conflist)

    assert chain.delete("pod").status == 0
    assert leases(chain) == []
