# SPDX-License-Identifier: Apache-2.0
"""Pods: network namespaces of a node, attached to networks by its runtime.

Which pods there are is not kept anywhere: it is read from the node's named network namespaces
and its runtime's cache, so it stays true when somebody uses `ip netns` or cnitool in the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import TYPE_CHECKING

from linen.lab.node import POD_NAMESPACES
from linen.lab.runtime import Runtime

if TYPE_CHECKING:
    from linen.lab.cache import Attachment
    from linen.lab.node import Node


@dataclass(frozen=True)
class Pod:
    """A pod, and what it is attached to, eth0 first (nothing, for a bare network namespace)."""

    name: str
    node: Node
    attachments: tuple[Attachment, ...]

    @property
    def addresses(self) -> list[IPv4Address | IPv6Address]:
        """All addresses that the pod has been given."""
        return [
            ip_interface(address).ip
            for attachment in self.attachments
            for address in attachment.addresses()
        ]


def netns_path(pod: str) -> str:
    """Give the path of a pod's network namespace inside its node."""
    return str(POD_NAMESPACES / pod)


def find_pods(node: Node) -> list[Pod]:
    """Find the pods of a node."""
    attachments = sorted(Runtime(node).attachments(), key=lambda one: one.ifname)
    return [
        Pod(name, node, tuple(one for one in attachments if one.netns == netns_path(name)))
        for name in node.pods()
    ]


def make_namespace(node: Node, pod: str) -> None:
    """Make a pod's network namespace, with its loopback up as a container runtime leaves it."""
    node.run(["ip", "netns", "add", pod])
    node.run(["ip", "-n", pod, "link", "set", "lo", "up"])


def remove_namespace(node: Node, pod: str) -> None:
    """Remove a pod's network namespace."""
    node.run(["ip", "netns", "delete", pod])
