# SPDX-License-Identifier: Apache-2.0
"""The files of nodes: the host's show through, and a lab does not hold on to the host's mounts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linen.lab.cluster import Lab
from support.labs import keepers_of, linenctl
from support.paths import LINENCTL

if TYPE_CHECKING:
    from collections.abc import Iterator

OVERLAID = ("/etc", "/opt", "/var")


@pytest.fixture
def down_afterwards(lab_name: str) -> Iterator[str]:
    """The name of a lab that the test starts by itself, and that is stopped after it."""
    yield lab_name
    linenctl("lab", "down", "--name", lab_name)


@pytest.fixture(params=["/tmp", "/var/tmp"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that nodes see as it is, and one that they see through an overlay."""
    made = Path(
        tempfile.mkdtemp(prefix="linen \N{LATIN SMALL LETTER E WITH ACUTE} ", dir=request.param)
    )
    yield made
    shutil.rmtree(made)


def up_where(script: str, lab: str, *arguments: object) -> None:
    """Run a shell script, with `arguments`, that starts a lab of one node by `up`."""
    up = f"{' '.join(LINENCTL)} lab up --nodes 1 --name {lab}"
    command = ["sh", "-ec", f"up='{up}'; {script}", "sh", *map(str, arguments)]
    # As on a host: what is mounted and unmounted is so in the mount namespaces of others, too.
    namespace = ["unshare", "--mount", "--propagation", "shared"]
    done = subprocess.run(
        [*namespace, *command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done


def test_the_host_can_unmount(down_afterwards: str, folder: Path) -> None:
    """What the host has unmounted since the lab began is mounted in none of its nodes."""
    script = 'mount -t tmpfs linen-test "$1"; $up; umount "$1"'

    up_where(script, down_afterwards, folder)

    keepers = keepers_of(down_afterwards)
    assert len(keepers) == 2
    for keeper in keepers:
        assert "linen-test" not in Path(f"/proc/{keeper}/mountinfo").read_text()


def test_what_nodes_mount_stays_there(down_afterwards: str, tmp_path: Path) -> None:
    """Nothing that a node mounts is seen by the host, pods' network namespaces included."""
    add_pod = f"{' '.join(LINENCTL)} lab add-pod --name {down_afterwards}"
    script = f"""
        cat /proc/self/mountinfo >"$1/before"
        $up; {add_pod}
        cmp /proc/self/mountinfo "$1/before"
    """

    up_where(script, down_afterwards, tmp_path)


def test_a_programs_mount_is_seen(down_afterwards: str, folder: Path) -> None:
    """A folder of programs that is a mount of the host's is there in the nodes, too."""
    script = """
        mount -t tmpfs linen-test "$1"
        printf '#!/bin/sh\\necho hello\\n' >"$1/greet"; chmod +x "$1/greet"
        PATH="$PATH:$1" $up
    """

    up_where(script, down_afterwards, folder)

    node = Lab.attach(down_afterwards).node("node1")
    assert node.run([f"{folder}/greet"]).stdout == "hello\n"


def test_whatever_the_umask(down_afterwards: str) -> None:
    """A node's folders have the modes of the host's, whatever the umask of who starts the lab."""
    up_where("umask 077; $up", down_afterwards)

    root = Lab.attach(down_afterwards).node("node1").root
    modes = {folder: (root / folder[1:]).stat().st_mode for folder in OVERLAID}
    assert modes == {folder: Path(folder).stat().st_mode for folder in OVERLAID}
