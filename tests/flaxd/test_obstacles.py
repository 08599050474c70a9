# SPDX-License-Identifier: Apache-2.0
"""What keeps flaxd from its work on a host, and what it says of that."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from support.daemons import FLAXD, running_flaxd
from support.host import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemons import Flaxd
    from support.host import Host


def test_wrong_settings_are_refused_at_start(node1: Host, settings: dict[str, Any]) -> None:
    """Wrong settings end the daemon at once, with status 2 and every fault."""
    with running_flaxd(node1, **settings, vni=0, mtu="large") as daemon:
        assert daemon.process.wait(timeout=10) == 2

    assert "--vni" in daemon.log
    assert "--mtu" in daemon.log


def test_address_that_is_not_there(node1: Host, settings: dict[str, Any]) -> None:
    """An address that cannot be listened on ends the daemon with status 2, the reason, the cure."""
    with running_flaxd(node1, **settings, listen="192.0.2.1:9") as daemon:
        assert daemon.process.wait(timeout=10) == 2

    last = daemon.log.splitlines()[-1]
    assert last.startswith("flaxd: cannot listen on 192.0.2.1:9")
    assert last.endswith("choose another address with --listen")


def test_no_inotify_instances_left(tmp_path: Path) -> None:
    """Where the kernel lets it watch no file it ends with status 2, the reason, the cure."""
    files = {"state-dir": "state", "conflist": "net.d/linen.conflist", "peers": "nodes.json"}
    options = [f"--{name}={tmp_path / path}" for name, path in files.items()]
    options += ["--node=node1", f"--ovsdb=unix:{tmp_path / 'db.sock'}", "--listen=127.0.0.1:0"]
    script = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    apart = ["unshare", "--map-root-user", "--net", "sh", "-c", script, "sh"]

    done = subprocess.run(
        [*apart, FLAXD, *options], check=False, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "fs.inotify.max_user_instances" in last
    assert "sysctl -w" in last


def test_another_conflist_comes_first(flaxd: Flaxd, settings: dict[str, Any]) -> None:
    """A file that the runtime takes before flaxd's is named, with the cure, until it is gone."""
    wait_until(settings["conflist"].exists, "the conflist")
    rival: Path = settings["conflist"].with_name("10-flannel.conflist")
    rival.write_text('{"cniVersion": "1.0.0", "name": "cbr0", "plugins": [{"type": "flannel"}]}')
    flaxd.wait_for(f"{rival}: this file comes before linen.conflist")
    assert flaxd.get("/readyz")[0] == 200

    rival.unlink()
    wait_until(lambda: not flaxd.state()["faults"], "the fault to be gone")
