# SPDX-License-Identifier: Apache-2.0
"""What a node looked like when a test on it failed: what one would ask for first, in its words.

A cluster is gone when the tests are over, and where they run nobody may be able to look.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.cluster.node import Node

LINES = 60  # of each answer: its last ones

_QUESTIONS = (
    "ovs-vsctl show",
    "ovs-vsctl --columns=name,protected,tag,external_ids list Port",
    "ovs-vsctl list Controller",
    "ovs-ofctl --no-names dump-flows br0",
    "ovs-appctl fdb/show br0",
    "ovs-appctl tnl/arp/show",
    "ip -brief address",
    "bridge -details link",
    "ip neighbour",
    "ip route",
    "nft --stateless list tables",
    "nft --stateless list map ip kube-proxy service-ips",
    "curl -sS http://127.0.0.1:9474/state",
    "cat /etc/cni/net.d/linen.conflist",
    "find /var/lib/cni/networks -type f",
    "tail /var/log/openvswitch/ovs-vswitchd.log",
    "tail -n40 /var/log/pods/linen-system_*/*/*.log",
)


def describe(node: Node) -> str:
    """Each question with its answer, or with the reason why there is none."""
    return "\n".join(f"$ {question}\n{_answer(node, question)}" for question in _QUESTIONS)


def _answer(node: Node, question: str) -> str:
    try:
        done = node.run("sh", "-c", question, check=False, timeout=10)
    except subprocess.TimeoutExpired as error:
        return str(error)
    return "\n".join((done.stdout + done.stderr).splitlines()[-LINES:])
