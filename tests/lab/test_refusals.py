# SPDX-License-Identifier: Apache-2.0
"""What the machine refuses, and what nobody can read: `linenctl lab` tells it in words."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.labs import fresh_name, linenctl, state_folder_exists
from support.paths import LINENCTL

if TYPE_CHECKING:
    from pathlib import Path

    from linen.lab.cluster import Lab

# What keeps each command from working, and what is told of it.
REFUSALS = {
    "no folder for labs": (
        "mount -t tmpfs -o ro none /run",
        "up --nodes 1",
        "Read-only file system: '/run/linen-lab",
    ),
    "no namespaces": (
        "no CAP_SYS_ADMIN",
        "up --nodes 1",
        "the lab's namespaces cannot be made",
    ),
    "no links": ("no CAP_NET_ADMIN", "up --nodes 1", "Operation not permitted"),
    "no way into a node": ("no CAP_SYS_ADMIN", "add-pod", "setns: Operation not"),
    "few files": ("ulimit -n 9", "up --nodes 1", "Too many open files"),
    "a full disk": ("exec >/dev/full", "list", "No space left on device"),
}


def run_where(refusal: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run `linenctl lab ARGV` in a mount namespace of its own, where something is refused."""
    capability = refusal.removeprefix("no CAP_").lower()
    command = [*LINENCTL, "lab", *argv]
    if refusal.startswith("no CAP_"):
        command, refusal = ["setpriv", "--bounding-set", f"-{capability}", *command], ":"
    script = ["unshare", "--mount", "sh", "-ec", f'{refusal}; exec "$@"', "sh"]
    return subprocess.run(
        [*script, *command], capture_output=True, text=True, check=False, timeout=90
    )


@pytest.mark.parametrize(("refusal", "words", "told"), REFUSALS.values(), ids=REFUSALS)
def test_what_the_machine_refuses(node_lab: Lab, refusal: str, words: str, told: str) -> None:
    """What the machine refuses is told in words, and no lab is left behind."""
    command, *rest = words.split()
    lab = f"{node_lab.description.name}{'-new' if command == 'up' else ''}"
    name = [] if command == "list" else ["--name", lab]

    done = run_where(refusal, command, *name, *rest)

    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert command != "up" or not state_folder_exists(lab)


def test_nobody_listens(node_lab: Lab) -> None:
    """`show` into a closed standard output is none that fails."""
    done = run_where("exec >&-", "show", "--name", node_lab.description.name)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_kernel_without_ipv6(lab_name: str) -> None:
    """A lab of IPv4 works where the kernel has no IPv6."""
    hidden = "mount -t tmpfs none /proc/sys/net"

    done = run_where(hidden, "up", "--nodes", "1", "--name", lab_name)

    assert done.returncode == 0, done
    assert linenctl("lab", "down", "--name", lab_name).returncode == 0


@pytest.mark.parametrize(
    "wrong", [{"ipam": None}, {"ovs": None}, {"runtimeConfig": None}, {"capabilities": []}]
)
def test_options_that_are_no_objects(tmp_path: Path, wrong: dict[str, object]) -> None:
    """A conflist's options that are no objects are refused by the file's name and theirs."""
    conflist = {"name": "odd", "plugins": [{"type": "linen", **wrong}]}
    (tmp_path / "odd.conflist").write_text(json.dumps(conflist))

    done = linenctl("lab", "up", "--name", fresh_name(), "--conflists", str(tmp_path))

    (key,) = wrong
    assert done.returncode == 1
    assert f"odd.conflist: {key} of plugin linen" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_relative_folder_of_plugins(lab_name: str) -> None:
    """`--cni-path` may be relative to the working directory."""
    options = ["--nodes", "1", "--name", lab_name, "--cni-path", "cni"]

    done = run_where("cd /usr/lib", "up", *options)

    assert done.returncode == 0, done
    assert linenctl("lab", "down", "--name", lab_name).returncode == 0
