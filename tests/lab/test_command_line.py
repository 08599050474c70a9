# SPDX-License-Identifier: Apache-2.0
"""`linenctl lab` for people and scripts: exit statuses, JSON, messages; and the examples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.labs import fresh_name, linenctl
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lab_of_conflists(folder: Path, nodes: int) -> Iterator[str]:
    """A lab of a folder's conflists, with a pod on each node: pod1, pod2 and so on."""
    name = fresh_name()
    options = ["--nodes", str(nodes), "--conflists", str(folder)]
    done = linenctl("lab", "up", "--name", name, *options)
    assert done.returncode == 0, done
    try:
        for _ in range(nodes):
            done = linenctl("lab", "add-pod", "--name", name)
            assert done.returncode == 0, done
        yield name
    finally:
        assert linenctl("lab", "down", "--name", name).returncode == 0


@pytest.fixture(scope="module")
def examples() -> Iterator[str]:
    """A lab of the three example conflists."""
    yield from lab_of_conflists(EXAMPLES, 3)


@pytest.fixture(scope="module")
def original() -> Iterator[str]:
    """A lab of the first two example conflists of 2017, whose master knows no third node."""
    yield from lab_of_conflists(EXAMPLES / "original", 2)


def test_examples_connect_their_pods(examples: str, original: str) -> None:
    """With the example conflists, old and new, every pod reaches every other.

    They name a controller that is not there, so OVS takes 15 s to forward by itself.
    """
    matrices = [linenctl("lab", "ping-matrix", "--name", name) for name in (examples, original)]

    assert [matrix.returncode for matrix in matrices] == [0, 0], matrices


def test_options_in_their_place_of_2017(original: str) -> None:
    """The plugin's warning about the old place of its options is shown with the ADD."""
    done = linenctl("lab", "add-pod", "--name", original)

    assert "runtimeConfig.ovs" in done.stderr


def test_examples_in_ovs(examples: str) -> None:
    """The switch of the master is what the README of 2017 shows."""
    shown = linenctl("lab", "exec", "--name", examples, "node1", "--", "ovs-vsctl", "show").stdout

    lines = {line.strip() for line in shown.splitlines()}
    assert {
        "Bridge br0",
        'Controller "tcp:192.168.2.100:6653"',
        "fail_mode: standalone",
        "Port vxif10_245_2_3",
        "Port vxif10_245_2_4",
        'options: {key=flow, remote_ip="10.245.2.3"}',
    } <= lines


def test_show(examples: str) -> None:
    """`show --json` has each node's VTEP address, pods and switch."""
    lab = json.loads(linenctl("lab", "show", "--name", examples, "--json").stdout)

    assert [node["vtep"] for node in lab["nodes"]] == [
        "10.245.2.2/24",
        "10.245.2.3/24",
        "10.245.2.4/24",
    ]
    assert [node["pods"] for node in lab["nodes"]] == [
        [{"name": f"pod{i}", "addresses": [f"10.244.{i}.10"]}] for i in (1, 2, 3)
    ]
    assert all("Bridge br0" in node["ovs"] for node in lab["nodes"])


def test_show_for_people(examples: str) -> None:
    """`show` prints nodes, addresses and pods, and what ovs-vsctl shows."""
    shown = linenctl("lab", "show", "--name", examples).stdout

    for word in ("node3", "10.245.2.4/24", "pod3 10.244.3.10", "Bridge br0", "vxif10_245_2_2"):
        assert word in shown


def test_list(examples: str) -> None:
    """`list` names the labs that are up."""
    labs = json.loads(linenctl("lab", "list", "--json").stdout)

    (ours,) = (lab for lab in labs if lab["name"] == examples)
    assert (ours["up"], ours["nodes"]) == (True, 3)


@pytest.mark.parametrize(
    ("where", "script", "status"),
    [("node2", "exit 7", 7), ("pod1", "exit 8", 8), ("node1", "kill -9 $$", 137), ("node1", "", 0)],
)
def test_exec_passes_the_exit_status_on(
    examples: str, where: str, script: str, status: int
) -> None:
    """`exec` ends as its command ends, in a node and in a pod."""
    done = linenctl("lab", "exec", where, "--name", examples, "--", "sh", "-c", script)

    assert done.returncode == status


def test_exec_has_standard_input_and_output(examples: str) -> None:
    """The command of `exec` reads and writes what `linenctl` was given."""
    done = linenctl("lab", "exec", "--name", examples, "pod1", "--", "cat", "-", stdin="hello")

    assert done.stdout == "hello"


def test_exec_of_nothing(examples: str) -> None:
    """A program that is not there is named."""
    done = linenctl("lab", "exec", "--name", examples, "node1", "--", "no-such-program")

    assert done.returncode == 1
    assert "node1 cannot run 'no-such-program': No such file or directory" in done.stderr


@pytest.mark.parametrize("command", ["show", "add-pod", "ping-matrix"])
def test_no_such_lab(command: str) -> None:
    """A lab that is not up is named, without a traceback."""
    done = linenctl("lab", command, "--name", "no-such-lab")

    assert done.returncode == 1
    assert "no lab named no-such-lab is up" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["80", "a:b", "1:2/icmp", "70000:1", "1:2:3"])
def test_publish_syntax(text: str) -> None:
    """A port mapping that is none is refused with an example of one."""
    done = linenctl("lab", "add-pod", "--name", "no-such-lab", "--publish", text)

    assert done.returncode == 1
    assert "for example 8080:80" in done.stderr


def test_help_needs_no_lab() -> None:
    """`linenctl` and `linenctl lab` explain themselves."""
    assert "lab" in linenctl("--help").stdout
    listed = linenctl("lab", "--help").stdout
    for command in ("up", "add-pod", "del-pod", "check-pod", "exec", "ping-matrix", "show", "down"):
        assert command in listed
