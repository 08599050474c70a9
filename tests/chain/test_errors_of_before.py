# SPDX-License-Identifier: Apache-2.0
"""What Open vSwitch still reports of options that are right by now, or will be, fails no call.

Such errors stay in their rows until ovs-vswitchd has looked again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from chain.conftest import feed, is_asked_to_look
from chain.test_trouble import LIMIT, STARTS_ALLOWED, seconds_to_start
from support.cni import Answer
from support.host import wait_until

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.host import Host


def tunnels(host: Host) -> list[str]:
    """The names of all tunnels."""
    rows = host.records("Interface", "name", "type")
    return [row["name"] for row in rows if row["type"] == "vxlan"]


def refuse(host: Host) -> None:
    """Give all tunnels an option that Open vSwitch refuses for them, as it then says."""
    for name in tunnels(host):
        host.vsctl("set", "interface", name, "options:local_ip=flow")
    rows = host.records("Interface", "type", "error")
    assert all(row["error"] for row in rows if row["type"] == "vxlan")


def put_right_unseen(attached: Attached) -> None:
    """An overlay that is as it should be, but for errors of what it was before.

    ovs-vswitchd does not go on until it is told to.
    """
    attached.call("ADD").result()
    refuse(attached.host)
    attached.host.signal("STOP", "ovs-vswitchd")
    for name in tunnels(attached.host):
        attached.host.vsctl("--no-wait", "remove", "interface", name, "options", "local_ip")


@pytest.mark.parametrize("command", ["ADD", "CHECK", "STATUS"])
def test_options_that_are_right_by_now(attached: Attached, command: str) -> None:
    """ovs-vswitchd is asked to look once more before an error counts."""
    put_right_unseen(attached)
    host = attached.host
    call = attached.start(command)
    feed(call, attached.conf())
    wait_until(lambda: is_asked_to_look(host) or call.poll() is not None, "the call to ask or end")
    host.signal("CONT", "ovs-vswitchd")

    answer = Answer.of(call)

    assert answer.status == 0, answer
    attached.call("CHECK").assert_empty_success()


@pytest.mark.parametrize(("command", "code"), [("ADD", 101), ("CHECK", 100), ("STATUS", 51)])
def test_a_switch_that_does_not_look(attached: Attached, command: str, code: int) -> None:
    """Where ovs-vswitchd does not look in time what it has said counts, within 5 s."""
    put_right_unseen(attached)
    starting = STARTS_ALLOWED * seconds_to_start(attached)

    begin = time.monotonic()
    text = attached.call(command).error(code)

    assert time.monotonic() - begin < LIMIT + starting
    assert "requires 'remote_ip=flow'" in text


def test_options_that_the_next_add_changes(attached: Attached) -> None:
    """STATUS lets pods start where the next ADD puts right what is refused.

    An ADD that was killed left it so, and the conflist has been corrected since.
    """
    attached.call("ADD").result()
    refuse(attached.host)

    attached.call("STATUS").assert_empty_success()

    attached.call("ADD").result()
    attached.call("CHECK").assert_empty_success()
