# SPDX-License-Identifier: Apache-2.0
"""A plugin that is killed, at whatever moment: a runtime's time ran out, or the node's memory."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chain.conftest import Attached
from support.cni import Chain, cni_environment
from support.conflists import example
from support.host import running_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.cni import Json
    from support.host import Host

# Only by these does an ADD change anything outside of itself.
TALK = "sendto,sendmsg,connect,write"
CEILING = 100  # calls of that kind; an ADD has a third of them


def all_kept(host: Host) -> Json:
    """All that an ADD leaves in Open vSwitch and on the Linux bridge."""
    port = host.links()["br0"]
    return {
        "bridge": host.records("Bridge", "name", "datapath_type", "external_ids", "fail_mode"),
        "ports": sorted(host.vsctl("list-ports", "br0").split()),
        "tunnels": sorted(str(row["options"]) for row in host.records("Interface", "options")),
        "port": [port["master"], port["mtu"], "UP" in port["flags"]],
        "on the bridge": port["linkinfo"]["info_slave_data"]["multicast_router"],
    }


def add_killed(attached: Attached, moment: int) -> bool:
    """Kill an ADD as it makes its `moment`th such call; whether it came that far."""
    kill = f"inject={TALK}:signal=KILL:when={moment}"
    done = attached.host.run(
        *("strace", "--quiet=all", "--output=/dev/null", f"--trace={TALK}", "-e", kill),
        attached.plugin,
        stdin=json.dumps(attached.conf()),
        env=cni_environment("ADD"),
        check=False,
    )
    assert done.returncode <= 0 or done.returncode == 128 + 9, done
    return done.returncode != 0


def nothing_yet(_attached: Attached) -> None:
    """The node's first pod."""


def taken_off(attached: Attached) -> None:
    """A node whose OVS bridge somebody has taken off the Linux bridge."""
    attached.call("ADD").result()
    attached.host.run("ip", "link", "set", "br0", "nomaster")


@contextmanager
def waiting_pod(plugin: Path, cni_path: Path) -> Iterator[Attached]:
    """A fresh host, with a pod that waits for its ADD."""
    with tempfile.TemporaryDirectory(prefix="linen-") as folder, running_host(Path(folder)) as host:
        yield Attached(host, plugin, Chain(host, example("master", "1.1.0"), cni_path))


@pytest.mark.parametrize("before", [nothing_yet, taken_off])
def test_the_next_add_makes_it_whole(
    plugin: Path, cni_path: Path, before: Callable[[Attached], None]
) -> None:
    """Wherever an ADD is killed, the next one mends, and CHECK calls nothing whole that is not."""
    with waiting_pod(plugin, cni_path) as attached:
        attached.call("ADD").result()
        whole = all_kept(attached.host)
    for moment in range(1, CEILING):
        with waiting_pod(plugin, cni_path) as attached:
            before(attached)
            was_killed = add_killed(attached, moment)
            if attached.call("CHECK").status == 0:
                assert all_kept(attached.host) == whole, moment
            attached.call("ADD").result()
            attached.call("CHECK").assert_empty_success()
            assert all_kept(attached.host) == whole, moment
            if not was_killed:
                return
    raise AssertionError(f"an ADD makes more than {CEILING} calls")
