# SPDX-License-Identifier: Apache-2.0
"""GC never removes tunnels, and STATUS says whether an ADD would work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.cni import Chain, Json

POD = {"containerID": "pod-1", "ifname": "eth0"}
BOTH_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")


def attachments(value: object) -> Json:
    """What a runtime puts into the configuration for GC."""
    return dict.fromkeys(BOTH_KEYS, value)


@pytest.mark.parametrize(
    "injected",
    [{}, attachments([]), attachments(None), attachments([POD]), {BOTH_KEYS[0]: [POD]}],
    ids=["absent", "empty", "null", "one", "one key"],
)
def test_gc_keeps_the_overlay(attached: Attached, injected: Json) -> None:
    """Tunnels belong to the node: GC keeps them, whichever attachments it is told are valid."""
    attached.call("ADD").result()
    before = attached.host.vsctl("show")

    attached.call("GC", attached.conf(**injected)).assert_empty_success()

    assert attached.host.vsctl("show") == before
    attached.call("CHECK").assert_empty_success()


def test_gc_of_the_runtime(chain: Chain) -> None:
    """cnitool's GC, which passes no attachments at all, keeps the overlay."""
    chain.add("pod")
    before = chain.host.vsctl("show")

    assert chain.run("gc", "pod").status == 0

    assert chain.host.vsctl("show") == before


def without_result(attached: Attached) -> Json:
    """A configuration as STATUS gets it."""
    conf = attached.conf()
    del conf["prevResult"]
    return conf


def test_status_of_a_ready_host(attached: Attached) -> None:
    """STATUS succeeds and prints nothing, on a fresh host as after an ADD."""
    attached.call("STATUS", without_result(attached)).assert_empty_success()
    attached.call("ADD").result()
    attached.call("STATUS", without_result(attached)).assert_empty_success()


def test_status_of_the_runtime(chain: Chain) -> None:
    """cnitool's STATUS of the whole chain succeeds."""
    chain.add("pod")
    assert chain.run("status", "pod").status == 0


@pytest.mark.parametrize(
    ("signal", "daemon"),
    [
        ("KILL", "ovsdb-server"),
        ("TERM", "ovsdb-server"),
        ("STOP", "ovsdb-server"),
        ("KILL", "ovs-vswitchd"),
        ("TERM", "ovs-vswitchd"),
        # A frozen ovs-vswitchd shows only in what it does not do, and without errors in OVSDB
        # STATUS asks it for nothing.
    ],
)
def test_status_without_open_vswitch(attached: Attached, signal: str, daemon: str) -> None:
    """Without one of the two daemons no ADD would work: code 50 or 51, naming the socket."""
    attached.host.signal(signal, daemon)

    answer = attached.call("STATUS", without_result(attached))

    assert answer.json["code"] in {50, 51}
    text = answer.error(answer.json["code"])
    assert "/var/run/openvswitch/db.sock" in text
