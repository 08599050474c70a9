# SPDX-License-Identifier: Apache-2.0
"""A node as an administrator has it: real Open vSwitch, a pod by the real chain, `linenctl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.cni import Chain
from support.conflists import example, options_of
from support.host import DATAPATH, OVSDB_SOCKET
from support.paths import LINENCTL

if TYPE_CHECKING:
    import subprocess

    from support.host import Host

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
UNDERLAY = "br-phy"  # userspace tunnels leave by an OVS bridge
OWN_VTEP, PEERS = "10.245.2.1", ("10.245.2.2", "10.245.2.3", "10.245.2.4")


class Node:
    """A host with the master's example network, and our commands."""

    def __init__(self, host: Host, cni_path: Path) -> None:
        self.host = host
        self.bin_dir = cni_path
        document = example("master", "1.1.0")
        del options_of(document["plugins"][1])["controller"]
        self.chain = Chain(host, document, cni_path)
        self.conf_dir = self.chain.folder
        self.conflist = self.conf_dir / "linen.conflist"
        self.state_dir = host.folder / "state"
        self.write(document)

    def write(self, document: object) -> None:
        """Put another conflist in its place, with the mode of an installed one."""
        self.conflist.write_text(json.dumps(document, indent=2))
        self.conflist.chmod(0o600)

    @property
    def ovs(self) -> dict[str, Any]:
        """The options in the conflist, to be changed before `write`."""
        return options_of(self.chain.linen)

    @property
    def document(self) -> dict[str, Any]:
        """The conflist."""
        return self.chain.conflist

    def make_underlay(self) -> None:
        """The node's own VTEP address, on an OVS bridge."""
        self.host.vsctl(
            "add-br", UNDERLAY, "--", "set", "bridge", UNDERLAY, f"datapath_type={DATAPATH}"
        )
        self.host.run("ip", "address", "add", f"{OWN_VTEP}/24", "dev", UNDERLAY)
        self.host.run("ip", "link", "set", UNDERLAY, "up")

    def lose_column(self, table: str, column: str) -> None:
        """Make OVSDB that of an Open vSwitch which is too old to have a column."""
        schema = json.loads(Path(SCHEMA).read_text())
        del schema["tables"][table]["columns"][column]
        older = self.host.folder / "older.ovsschema"
        older.write_text(json.dumps(schema))
        self.host.run("ovsdb-client", "convert", f"unix:{OVSDB_SOCKET}", older)

    def argv(self, command: str, *argv: str | Path) -> list[str | Path]:
        """The command line of a command with this node's folders."""
        folders: list[str | Path] = ["--conf-dir", self.conf_dir]
        if command in {"check", "doctor", "install", "uninstall"}:
            folders += ["--bin-dir", self.bin_dir]
        if command in {"check", "install", "uninstall"}:
            folders += ["--state-dir", self.state_dir]
        return [*LINENCTL, command, *folders, *argv]

    def linenctl(self, command: str, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command with this node's folders."""
        done = self.host.run(*self.argv(command, *argv), check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def findings(self) -> list[dict[str, str]]:
        """What `linenctl check` finds here, but for what is in order."""
        done = self.linenctl("check", "--json")
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)
        assert done.returncode == any(one["severity"] == "error" for one in found), done
        return [one for one in found if one["severity"] != "ok"]

    def faults(self) -> list[tuple[str, str]]:
        """Check and severity of its errors and warnings."""
        found = self.findings()
        return [(one["check"], one["severity"]) for one in found if one["severity"] != "note"]


@pytest.fixture
def plugin(plain_plugin: Path) -> Path:
    """The plugin as Python modules: what is tested here are the tools around it."""
    return plain_plugin


@pytest.fixture
def fresh(host: Host, cni_path: Path) -> Node:
    """A node with everything installed, and no pod yet."""
    node = Node(host, cni_path)
    node.make_underlay()
    return node


@pytest.fixture
def node(fresh: Node) -> Node:
    """A healthy node with a pod."""
    fresh.chain.add("pod")
    return fresh


def only(node: Node, check: str, severity: str = "error") -> dict[str, str]:
    """The one finding that is no note; it is of this check."""
    (finding,) = (one for one in node.findings() if one["severity"] != "note")
    assert (finding["check"], finding["severity"]) == (check, severity), finding
    return finding
