# SPDX-License-Identifier: Apache-2.0
"""Whether pods get their answers from services, as far as this node's kernel decides it.

All pods are in one Ethernet segment, so the pod behind a service answers straight to the pod that
asked, past the routing of its node. kube-proxy's translation is undone there only if the kernel
shows bridged packets to its firewall.
https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html, /proc/sys/net/bridge
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.host.node import read_setting

if TYPE_CHECKING:
    from collections.abc import Iterable

PAUSE = 10.0  # seconds between two looks: these files tell nobody that they have changed
_FOLDER = "/proc/sys/net/bridge"


def is_on() -> bool:
    """Whether the firewall sees packets between pods, of either IP version."""
    return not (_fault("bridge-nf-call-iptables") or _fault("bridge-nf-call-ip6tables"))


def faults(pod_ranges: Iterable[str]) -> list[str]:
    """What keeps services' answers from pods with addresses of these ranges, one sentence each."""
    names = sorted({"ip6tables" if ":" in pod_range else "iptables" for pod_range in pod_ranges})
    found = [_fault(f"bridge-nf-call-{name}") for name in names]
    return [fault for fault in found if fault]


def _fault(setting: str) -> str:
    value = read_setting(f"{_FOLDER}/{setting}")
    if value == "1":
        return ""
    cause, cure = f"net.bridge.{setting} is {value}", f"sysctl -w net.bridge.{setting}=1"
    if value is None:
        cause, cure = "the kernel's module br_netfilter is not loaded", "modprobe br_netfilter"
    return f"with kube-proxy, pods here get no answers from services: {cause}; `{cure}`"
