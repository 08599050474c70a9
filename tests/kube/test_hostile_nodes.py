# SPDX-License-Identifier: Apache-2.0
"""Nodes that a stranger has written to: reported, and of no consequence to any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core.cluster import Peer
from support.kube_watches import run, watching

if TYPE_CHECKING:
    from support.control_plane import ControlPlane

HOSTILE = {
    "empty": {"vtep": ""},
    "shell": {"vtep": "10.0.0.1; reboot"},
    "substitution": {"vtep": "$(reboot)"},
    "newline": {"vtep": "10.0.0.1\n"},
    "leading-zero": {"vtep": "010.0.0.1"},
    "broadcast": {"vtep": "255.255.255.255"},
    "group": {"vtep": "239.1.1.1"},
    "unspecified": {"vtep": "::"},
    "link-local": {"vtep": "fe80::1"},
    "scope": {"vtep": "2001:db8::1%eth0"},
    "two": {"vtep": "10.0.0.1,10.0.0.2"},
    "name": {"vtep": "attacker.example.org"},
    "unicode": {"vtep": "\uff11\uff10.0.0.1"},
    "zero": {"vtep": "10.0.0.1\0"},
    "long": {"vtep": "1" * 200_000},
    "all": {"vtep": "10.0.0.1", "pod_ranges": "0.0.0.0/0"},
    "half": {"vtep": "10.0.0.1", "pod_ranges": "0.0.0.0/1"},
    "host-bits": {"vtep": "10.0.0.1", "pod_ranges": "10.244.1.7/24"},
    "many": {"vtep": "10.0.0.1", "pod_ranges": ",".join(["10.0.0.0/24"] * 50)},
    "zone": {"vtep": "10.0.0.1", "pod_ranges": "fd00:10::%evil/64"},
    "loopback": {"vtep": "127.0.0.1"},
    "loopback-ipv6": {"vtep": "::1"},
    "this-host": {"vtep": "0.1.2.3"},
    "option": {"vtep": "10.0.0.1", "pod_ranges": "--help"},
    "master": {"vtep": "10.0.0.1", "master": "yes"},
    "version": {"vtep": "10.0.0.1", "version": "-1"},
}


def test_hostile_annotations(plane: ControlPlane) -> None:
    """Whatever a Node says about itself, the others' records are right, and the fault is named."""

    async def body() -> None:
        async with watching(plane.admin_kubeconfig()) as watched:
            for name, annotations in HOSTILE.items():
                plane.add_node(name)
                plane.annotate(name, **annotations)
            plane.add_node("honest", annotations={"linen-cni/vtep": "10.0.0.9"})
            await watched.until(lambda: "honest" in watched.records)

            assert watched.records["honest"].peer == Peer("honest", "10.0.0.9")
            for name in HOSTILE:
                record = watched.records[name]
                assert record.peer is None, name
                assert record.fault.startswith(f"node {name}: linen-cni/"), record.fault
                assert record.fault.isprintable(), record.fault
                assert len(record.fault) < 400, record.fault
            assert watched.watch.lists == 1

    run(body())


def test_a_node_of_a_newer_version(plane: ControlPlane) -> None:
    """Annotations that a newer version adds are left out, and what this version knows is read."""

    async def body() -> None:
        newer = {
            "linen-cni/vtep": "10.0.0.1",
            "linen-cni/version": "7",
            "linen-cni/encryption-key": "x",
        }
        plane.add_node("newer", annotations=newer)
        async with watching(plane.admin_kubeconfig()) as watched:
            record = watched.records["newer"]
            assert (record.peer, record.version) == (Peer("newer", "10.0.0.1"), 7)

    run(body())
