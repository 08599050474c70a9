# SPDX-License-Identifier: Apache-2.0
"""ADD looks at links in sysfs, where nobody queues, if that shows the pod's own network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from support.cni import call

if TYPE_CHECKING:
    from pathlib import Path

    from chain.conftest import Attached
    from support.host import Host

# The plugin, in a process in which nobody asks netlink for a link.
WITHOUT_NETLINK = """
from linen.netlink.blocking import Netlink
from linen.plugin.main import run

def refuse(*_):
    raise AssertionError("a question to netlink, for which all pods that start queue")

Netlink.find_link = Netlink.find_link_at = Netlink.links = refuse
raise SystemExit(run())
"""

# The plugin, with another network namespace's sysfs in place of ours; there all seems to be done.
# The shell stays, or that namespace would go.
ELSEWHERE = """
mount -t sysfs sysfs /sys
ip link add kbr0 mtu 1400 type bridge
ip link add br0 mtu 1400 master kbr0 up type veth peer name other
nsenter --net=/proc/1/ns/net "$0"
"""
WITHOUT_SYSFS = 'umount /sys; mount -t tmpfs tmpfs /sys; exec "$0"'


def wrapped(folder: Path, plugin: Path, *command: str) -> Path:
    """A program that runs the plugin as the last argument of a command."""
    program = folder / "wrapped"
    words = " ".join(f"'{word}'" for word in command)
    program.write_text(f"#!/bin/sh\nexec {words} {plugin}\n")
    program.chmod(0o755)
    return program


def is_attached(host: Host) -> bool:
    """Whether the OVS bridge hangs on the Linux bridge, and is set up."""
    link = host.links()["br0"]
    return link.get("master") == "kbr0" and "UP" in link["flags"]


def test_usual_add_does_not_queue(attached: Attached, short_folder: Path) -> None:
    """An ADD that finds all in order asks netlink for no link: the kernel's lock is not for it."""
    attached.call("ADD").result()
    program = short_folder / "without_netlink"
    program.write_text(f"#!{sys.executable} -I\n{WITHOUT_NETLINK}")
    program.chmod(0o755)

    assert call(attached.host, program, "ADD", attached.conf()).result() == attached.prev_result


def test_another_namespace_is_not_believed(
    attached: Attached, plugin: Path, short_folder: Path
) -> None:
    """A sysfs that shows another network namespace, with links of the same names, is seen through.

    Only the pod's own link, whose name nobody else has, tells whose it is.
    """
    host = attached.host
    attached.call("ADD").result()
    host.run("ip", "link", "set", "br0", "nomaster")
    elsewhere = wrapped(short_folder, plugin, "unshare", "--net", "--mount", "sh", "-ec", ELSEWHERE)

    call(host, elsewhere, "ADD", attached.conf()).result()

    assert is_attached(host)


def test_no_sysfs(attached: Attached, plugin: Path, short_folder: Path) -> None:
    """Where there is no sysfs at all, netlink tells the same."""
    without = wrapped(short_folder, plugin, "unshare", "--mount", "sh", "-ec", WITHOUT_SYSFS)
    host = attached.host

    for _ in range(2):
        call(host, without, "ADD", attached.conf()).result()
        assert is_attached(host)
