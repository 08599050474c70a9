# SPDX-License-Identifier: Apache-2.0
"""A node that starts gets many pods at once, and the first of them find nothing prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.conftest import feed
from support.cni import Answer
from support.paths import CNITOOL

if TYPE_CHECKING:
    from pathlib import Path

    from chain.conftest import Attached
    from support.cni import Chain
    from support.host import Host

PODS = [f"pod{number}" for number in range(20)]


def assert_one_of_each(host: Host) -> None:
    """There is one OVS bridge with one tunnel to each peer and one controller."""
    assert host.vsctl("list-br") == "br0"
    rows = host.records("Interface", "name", "type", "options")
    remotes = sorted(row["options"]["remote_ip"] for row in rows if row["type"] == "vxlan")
    assert remotes == ["10.245.2.2", "10.245.2.3", "10.245.2.4"]
    assert len(host.records("Controller")) == 1
    assert host.links()["br0"]["master"] == "kbr0"


def add_at_once(attached: Attached, pods: list[str]) -> list[Answer]:
    """The answers to one ADD for each of these pods."""
    running = [attached.start_add(pod) for pod in pods]
    for process in running:  # none goes on before it has its configuration: now all start
        feed(process, attached.conf())
    return [Answer.of(process) for process in running]


def test_twenty_at_once_on_a_fresh_host(attached: Attached) -> None:
    """Twenty ADDs that all find nothing all succeed, and together make one of each thing."""
    ended = add_at_once(attached, PODS)

    assert [answer.result() for answer in ended] == [attached.prev_result] * len(PODS)
    assert_one_of_each(attached.host)


def test_many_at_once_without_a_switch(attached: Attached) -> None:
    """However many ask whether ovs-vswitchd runs, none takes another that asks for it."""
    attached.call("ADD").result()
    attached.host.signal("KILL", "ovs-vswitchd")

    for _ in range(5):
        for answer in add_at_once(attached, [f"pod{number}" for number in range(50)]):
            assert "ovs-vswitchd is not running" in answer.error(11)


def test_twenty_pods_through_the_whole_chain(chain: Chain, cni_path: Path) -> None:
    """Twenty pods at once by the real runtime each get an address, and the overlay is whole."""
    for pod in PODS:
        chain.host.add_namespace(pod)
    env = {"CNI_PATH": str(cni_path), "NETCONFPATH": str(chain.folder)}

    running = [
        chain.host.start(CNITOOL, "add", "linen-network", f"/run/netns/{pod}", env=env)
        for pod in PODS
    ]
    ended = [Answer.of(process) for process in running]

    addresses = {answer.result()["ips"][0]["address"] for answer in ended}
    assert len(addresses) == len(PODS)
    assert_one_of_each(chain.host)
