# SPDX-License-Identifier: Apache-2.0
"""What others do to Open vSwitch while an ADD is under way: they start it, or take Linen off it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from chain.conftest import feed, is_asked_to_look
from support.cni import Answer
from support.host import VSWITCHD, wait_until

if TYPE_CHECKING:
    import subprocess
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


PEER = "10.245.2.9"  # that an ADD under way is the first to want a tunnel to


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


@contextmanager
def add_after_reboot(attached: Attached) -> Iterator[subprocess.Popen[bytes]]:
    """An ADD that waits, or has ended, while OVSDB lists what ovs-vswitchd has not made yet.

    That it does after the block.
    """
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
        yield adding


def test_a_switch_that_has_just_started(attached: Attached) -> None:
    """After a reboot an ADD waits for the devices of what OVSDB has listed since before it."""
    with add_after_reboot(attached) as adding:
        pass
    Answer.of(adding).result()

    attached.call("CHECK").assert_empty_success()


@pytest.mark.parametrize("is_there", [False, True])
def test_taken_off(attached: Attached, *, is_there: bool) -> None:
    """An OVS bridge that is removed while an ADD waits for it is not made anew by that ADD.

    `linenctl uninstall` and flaxd remove it for good.
    """
    host = attached.host
    if is_there:
        attached.call("ADD").result()
    host.signal("STOP", "ovs-vswitchd")
    adding = attached.start_add("a")
    feed(adding, attached.with_options(vtepIPs=[PEER]))
    wait_until(lambda: PEER in str(host.records("Interface", "options")), "the ADD's rows")
    host.vsctl("--no-wait", "del-br", "br0")

    text = Answer.of(adding).error(11)

    assert "br0 was removed while an ADD was under way" in text
    assert host.vsctl("list-br") == ""


def test_taken_off_after_it_was_made(attached: Attached) -> None:
    """An OVS bridge that is removed while an ADD waits for its device alone is not made anew."""
    with add_after_reboot(attached) as adding:
        attached.host.vsctl("--no-wait", "del-br", "br0")

    assert "br0 was removed" in Answer.of(adding).error(11)
    assert attached.host.vsctl("list-br") == ""
