# SPDX-License-Identifier: Apache-2.0
"""Pods whose attaching or detaching fails half way: what is told, and what stays."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from linen.lab.errors import PluginFailed
from support.host import wait_until
from support.labs import linenctl, plain_network, reservations, start_linenctl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from linen.lab.cluster import Lab
    from linen.lab.node import Node

CONFLISTS = "etc/cni/net.d"
PLUGINS = "opt/cni/bin"
DEADLINE = 20  # seconds
RESULTS = "var/lib/cni/results"


@pytest.fixture(autouse=True)
def changes_undone(node: Node) -> Iterator[None]:
    """The node's conflists and plugins are the same before and after each test."""
    conflists, plugins = node.root / CONFLISTS, node.root / PLUGINS
    before = {path: path.read_text() for path in conflists.iterdir()}
    known = set(plugins.iterdir())
    yield
    for path in set(conflists.iterdir()) - before.keys() | (set(plugins.iterdir()) - known):
        path.unlink()
    for path, content in before.items():
        path.write_text(content)


def add_conflist(node: Node, content: str) -> Path:
    """Give the node a conflist that comes before its own."""
    path = node.root / CONFLISTS / "00-odd.conflist"
    path.write_text(content)
    return path


def add_plugin(node: Node, content: str) -> None:
    """Give the node a plugin, and a network where it comes after bridge and host-local."""
    path = node.root / PLUGINS / "odd"
    path.write_text(content)
    path.chmod(0o755)
    network = plain_network("odd", "10.7.0.0/24")
    network["plugins"].append({"type": "odd"})
    add_conflist(node, json.dumps(network))


def remove_conflists(node: Node) -> None:
    """Leave the node without a network."""
    for path in (node.root / CONFLISTS).iterdir():
        path.unlink()


UNDOABLE: dict[str, tuple[Callable[[Node], object], str]] = {
    "a conflist that is not JSON": (
        lambda node: add_conflist(node, "{"),
        "node1: /etc/cni/net.d/00-odd.conflist: ",
    ),
    "a conflist without plugins": (
        lambda node: add_conflist(node, '{"cniVersion": "1.0.0", "name": "odd"}'),
        "node1: /etc/cni/net.d/00-odd.conflist: ",
    ),
    "no conflist": (remove_conflists, "node1: /etc/cni/net.d: no file named *.conflist"),
    "a plugin of another format": (
        lambda node: add_plugin(node, "no program\n"),
        "Exec format error",
    ),
    "a plugin that says what is not UTF-8": (
        lambda node: add_plugin(node, "#!/bin/sh\nprintf 'na\\357ve' >&2; exit 3\n"),
        "exit status 3, and on stderr: na\N{REPLACEMENT CHARACTER}ve",
    ),
}


@pytest.mark.parametrize(("change", "told"), UNDOABLE.values(), ids=UNDOABLE)
def test_what_cannot_be_added(
    lab: Lab, node: Node, change: Callable[[Node], object], told: str
) -> None:
    """Whatever keeps a pod from being attached is told in words, and nothing of the pod stays."""
    change(node)

    done = linenctl("lab", "add-pod", "--name", lab.description.name)

    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.pods() == []
    assert reservations(node) == []


def test_undoing_goes_on_after_a_failure(lab: Lab, node: Node) -> None:
    """When the plugin that failed ADD fails DEL, too, those before it are asked nevertheless."""
    add_plugin(node, "#!/bin/sh\necho $CNI_COMMAND: out of bananas >&2; exit 4\n")

    with pytest.raises(PluginFailed, match="ADD: out of bananas") as failure:
        lab.add_pod("node1", "a", networks=["odd"])

    assert "DEL: out of bananas" in failure.value.__notes__[0]
    assert reservations(node) == []


ONLY_ADD = "#!/bin/sh\n[ $CNI_COMMAND = ADD ] && echo {} || exit 4\n"


def test_undoing_goes_on_with_other_networks(lab: Lab, node: Node) -> None:
    """A network that cannot be left does not keep a failed pod in the others."""
    add_plugin(node, ONLY_ADD)
    broken = plain_network("broken", "10.8.0.0/24", mtu=1_000_000)
    (node.root / CONFLISTS / "broken.conflist").write_text(json.dumps(broken))

    with pytest.raises(PluginFailed, match="plugin bridge failed ADD") as failure:
        lab.add_pod("node1", "a", networks=["linen-network", "odd", "broken"])

    assert "plugin odd failed DEL" in failure.value.__notes__[0]
    assert lab.pods() == []
    assert reservations(node) == []
    assert list((node.root / RESULTS).iterdir()) == []


def test_del_goes_on_without_a_plugin(lab: Lab, node: Node) -> None:
    """DEL of a plugin that is gone is reported, and the pod, its addresses and records are gone."""
    add_plugin(node, ONLY_ADD)
    lab.add_pod("node1", "a", networks=["linen-network", "odd"])
    (node.root / PLUGINS / "odd").unlink()

    done = linenctl("lab", "del-pod", "--name", lab.description.name, "a")

    assert done.returncode == 1
    assert "plugin odd failed DEL" in done.stderr
    assert lab.pods() == []
    assert reservations(node) == []
    assert list((node.root / RESULTS).iterdir()) == []


def test_a_plugin_that_hangs(lab: Lab, node: Node) -> None:
    """Who ends `add-pod` while a plugin hangs gets what was made undone, and that at once."""
    running = node.root / "run/odd-plugin"
    add_plugin(node, f"#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\n>/run/{running.name}; sleep 99")
    with start_linenctl("lab", "add-pod", "--name", lab.description.name) as process:
        wait_until(running.exists, "the plugin to run", DEADLINE)

        process.terminate()
        process.communicate(timeout=DEADLINE)

    assert process.returncode == -signal.SIGTERM
    assert lab.pods() == []
    assert reservations(node) == []
