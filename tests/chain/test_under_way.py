# SPDX-License-Identifier: Apache-2.0
"""What becomes of Open vSwitch while an ADD is under way: it starts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from chain.conftest import feed
from chain.test_errors_of_before import is_asked_to_look
from support.cni import Answer
from support.host import VSWITCHD, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chain.conftest import Attached
    from support.host import Host

# Holds the lock of a daemon that runs, until its input ends.
HOLD = """
import fcntl, sys
pidfile = open("/run/openvswitch/ovs-vswitchd.pid", "w")
fcntl.lockf(pidfile, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def starting_switch(host: Host) -> Iterator[None]:
    """An ovs-vswitchd that runs, and has not looked at its configuration yet."""
    holder = host.start("/usr/bin/python3", "-I", "-c", HOLD)
    assert holder.stdout is not None
    assert holder.stdin is not None
    holder.stdout.readline()
    yield
    holder.stdin.close()
    holder.wait()
    host.run("sh", "-c", f"cd /run/openvswitch && {VSWITCHD}")


def test_a_switch_that_has_just_started(attached: Attached) -> None:
    """After a reboot an ADD waits for the devices of what OVSDB has listed since before it."""
    attached.call("ADD").result()
    host = attached.host
    host.signal("KILL", "ovs-vswitchd")
    host.run("ip", "link", "delete", "br0")

    with starting_switch(host):
        adding = attached.start_add("a")
        feed(adding, attached.conf())
        wait_until(
            lambda: is_asked_to_look(host) or adding.poll() is not None, "the ADD to wait or end"
        )
    Answer.of(adding).result()

    attached.call("CHECK").assert_empty_success()
