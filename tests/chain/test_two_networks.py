# SPDX-License-Identifier: Apache-2.0
"""A pod in two networks of one node, eth0 in one and net1 in the other, as Multus attaches it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from support.cni import Answer, plugin_entry
from support.conflists import VERSIONS, set_version
from support.paths import CNITOOL

if TYPE_CHECKING:
    from support.cni import Chain

IFNAMES = {"linen-network": "eth0", "second": "net1"}
PLACES = {"br0": "kbr0", "br1": "kbr1"}  # which Linux bridge each OVS bridge belongs on


def write(chain: Chain, version: str) -> None:
    """Let the chain's folder have two networks with everything their own."""
    first = chain.conflist
    set_version(first, version)
    chain.linen["ovs"]["vni"] = 7
    chain.write(first)
    second = deepcopy(first) | {"name": "second"}
    ipam = {"type": "host-local", "subnet": "10.9.0.0/16", "rangeStart": "10.9.1.10"}
    bridge = {"type": "bridge", "bridge": "kbr1", "mtu": 1350, "ipam": ipam}
    linen = plugin_entry(second, "linen")
    linen["ovs"] |= {"ovsBridge": "br1", "vni": 8}
    second["plugins"] = [bridge, linen]
    (chain.folder / "second.conflist").write_text(json.dumps(second))


def run(chain: Chain, command: str, network: str) -> Answer:
    """Run `cnitool COMMAND` for the pod's interface in a network."""
    variables = {"CNI_PATH": str(chain.cni_path), "NETCONFPATH": str(chain.folder)}
    argv = (CNITOOL, command, network, "/run/netns/pod")
    env = variables | {"CNI_IFNAME": IFNAMES[network]}
    return Answer(chain.host.run(*argv, env=env, check=False))


def places(chain: Chain) -> dict[str, str | None]:
    """What each OVS bridge hangs on."""
    links = chain.host.links()
    return {bridge: links[bridge].get("master") for bridge in PLACES}


@pytest.mark.parametrize("networks", [tuple(IFNAMES), tuple(IFNAMES)[::-1]], ids=["eth0", "net1"])
@pytest.mark.parametrize("version", VERSIONS)
def test_pod_in_two_networks(chain: Chain, version: str, networks: tuple[str, ...]) -> None:
    """Each network's OVS bridge is put where that network's interface of the pod is, in any order.

    Results older than 0.3.0 do not name the Linux bridge, and the pod is on two.
    """
    write(chain, version)
    chain.host.add_namespace("pod")

    for network in networks:
        run(chain, "add", network).result()

    assert places(chain) == PLACES
    links = chain.host.links()
    assert [links[name]["mtu"] for name in ("br0", "br1", "kbr1")] == [1400, 1350, 1350]
    for network in networks if version >= "0.4.0" else ():
        run(chain, "check", network).assert_empty_success()


def test_check_tells_the_networks_apart(chain: Chain) -> None:
    """Where one network's OVS bridge is off its Linux bridge CHECK of that network alone fails."""
    write(chain, "1.1.0")
    chain.host.add_namespace("pod")
    for network in IFNAMES:
        run(chain, "add", network).result()

    chain.host.run("ip", "link", "set", "br1", "nomaster")

    run(chain, "check", "linen-network").assert_empty_success()
    assert "br1 hangs on no Linux bridge instead of kbr1" in run(chain, "check", "second").stderr
