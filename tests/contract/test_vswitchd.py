# SPDX-License-Identifier: Apache-2.0
"""Whether a real ovs-vswitchd runs, as its pidfile tells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from linen.core import errors
from linen.ovsdb import vswitchd
from support.host import VSWITCHD

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host


PROGRAM = """
from linen.ovsdb import vswitchd
print(vswitchd.is_running("/run/openvswitch/db.sock"))
"""


def is_seen(host: Host) -> bool:
    """Whether it is seen to run, on the host."""
    return host.run(sys.executable, "-I", "-c", PROGRAM).stdout == "True\n"


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_it_is_seen_while_it_runs(host: Host, signal: str) -> None:
    """ovs-vswitchd is seen until it ends, with its pidfile gone or not, and when it is back."""
    assert is_seen(host)

    host.signal(signal, "ovs-vswitchd")
    assert not is_seen(host)

    host.run("sh", "-c", f"cd /run/openvswitch && {VSWITCHD}")
    assert is_seen(host)


def test_it_is_seen_while_its_database_is_away(host: Host) -> None:
    """ovs-vswitchd, which goes on to switch, is seen to run while ovsdb-server is away."""
    host.signal("KILL", "ovsdb-server")

    assert is_seen(host)


def test_a_pidfile_that_cannot_be_read(short_folder: Path) -> None:
    """What is in the way of ovs-vswitchd's pidfile is named, and what that file is for."""
    (short_folder / "not-a-folder").touch()

    with pytest.raises(errors.Unavailable, match=r"not-a-folder/ovs-vswitchd\.pid") as refused:
        vswitchd.is_running(f"{short_folder}/not-a-folder/db.sock")

    assert "whether ovs-vswitchd runs" in refused.value.details
