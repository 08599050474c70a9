# SPDX-License-Identifier: Apache-2.0
"""`linenctl uninstall`: everything of ours goes, everything of others stays."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from linen.host.inventory import read_inventory
from linen.host.ovs_removal import operations, plan_removal, remove_from
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection, TransactionError
from support.conflists import example
from support.host import OVSDB_SERVER
from support.paths import FROZEN_PLUGIN

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from cli.conftest import Node

CONFLIST = "linen.conflist"
OUR_COOKIE = "0x6c696e6500000001"


class Installed:
    """A node with a pod, on which everything was put in place by `linenctl install`."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.host = node.host
        self.bin_dir = node.bin_dir = folder / "opt"
        source = folder / "mine.conflist"
        source.write_text(json.dumps(example("master", "1.0.0")))
        node.conflist.unlink()
        done = node.linenctl("install", "--conflist", source, "--plugin", FROZEN_PLUGIN)
        assert done.returncode == 0, done.stderr
        node.chain.cni_path = self.bin_dir
        node.chain.conflist = example("master", "1.0.0")
        node.chain.add("pod")

    def uninstall(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return self.node.linenctl("uninstall", *argv)

    def files(self) -> list[str]:
        """The names of all that is in the runtime's folders."""
        return sorted(
            path.name for folder in (self.bin_dir, self.node.conf_dir) for path in folder.iterdir()
        )

    def record(self) -> Path:
        """The record of what was installed."""
        return self.node.state_dir / "installed.json"

    def bridges(self) -> list[str]:
        """The OVS bridges but the underlay's."""
        return [name for name in self.host.vsctl("list-br").split() if name != "br-phy"]


@pytest.fixture
def installed(fresh: Node, short_folder: Path) -> Installed:
    """A node with a pod, on which everything was put in place by `linenctl install`."""
    return Installed(fresh, short_folder)


def test_leaves_nothing_of_ours(installed: Installed) -> None:
    """Files, record, OVS bridge, tunnels and controllers are gone; the Linux bridge stays."""
    done = installed.uninstall()

    assert done.returncode == 0, done.stdout
    assert installed.files() == []
    assert not installed.record().exists()
    assert installed.bridges() == []
    assert installed.host.records("Controller", "target") == []
    assert installed.host.vsctl("list-br") == "br-phy"
    assert "kbr0" in installed.host.links()


def test_conflists_that_flaxd_wrote(installed: Installed) -> None:
    """Conflists that flaxd wrote go, whatever they are called, and all that is theirs with them."""
    document = example("master", "1.0.0") | {"managedBy": "flaxd"}
    installed.node.conflist.rename(installed.node.conf_dir / "05-linen.conflist")
    (installed.node.conf_dir / "05-linen.conflist").write_text(json.dumps(document))

    done = installed.uninstall()

    assert done.returncode == 0, done.stdout
    assert installed.files() == []
    assert installed.bridges() == []


def test_empty_linux_bridge_goes(installed: Installed) -> None:
    """A Linux bridge on which no pod hangs goes with its network."""
    installed.node.chain.delete("pod")

    done = installed.uninstall()

    assert done.returncode == 0, done.stdout
    assert "removed: Linux bridge kbr0" in done.stdout
    assert not {"kbr0", "br0"} & set(installed.host.links())


def test_linux_bridge_with_another_address_stays(installed: Installed) -> None:
    """An empty Linux bridge that somebody uses for more than our network stays, and is told."""
    installed.node.chain.delete("pod")
    installed.host.run("ip", "address", "add", "192.0.2.1/24", "dev", "kbr0")

    done = installed.uninstall()

    assert "stays: Linux bridge kbr0: its address 192.0.2.1 is not the network's" in done.stdout
    assert "kbr0" in installed.host.links()


def test_rules_of_a_bridge_that_stays(installed: Installed) -> None:
    """On an OVS bridge that others use no rule of ours stays, and each of theirs."""
    host = installed.host
    port = "add-port br0 theirs -- set interface theirs type=internal"
    host.vsctl("del-controller", "br0")  # which would drop the rules
    host.vsctl(*port.split())
    for cookie, priority in ((OUR_COOKIE, 1), (OUR_COOKIE, 2), ("0x7", 3)):
        rule = f"cookie={cookie},priority={priority},actions=drop"
        host.run("ovs-ofctl", "add-flow", "br0", rule)

    done = installed.uninstall()

    assert done.returncode == 0, done.stdout
    assert "removed: 2 rules of OVS bridge br0" in done.stdout
    shown = host.run("ovs-ofctl", "--no-stats", "dump-flows", "br0").stdout
    assert OUR_COOKIE not in shown
    assert "cookie=0x7, priority=3 actions=drop" in shown


def test_port_that_comes_in_between(installed: Installed) -> None:
    """A port that somebody adds after we looked keeps its bridge: the transaction fails whole."""
    path = f"/proc/{installed.host.pid}/root/run/openvswitch/db.sock"
    with closing(Connection(path, Deadline(10))) as connection:
        removal = plan_removal(read_inventory(connection), keep=())
        installed.host.vsctl("add-port", "br0", "late", "--", "set", "interface", "late",
                             "type=internal")  # fmt: skip

        with pytest.raises(TransactionError, match="timed out"):
            connection.transact(operations(removal))

    assert "vxif10_245_2_2" in installed.host.vsctl("list-ports", "br0")
    assert "late" in remove_from(path, keep=()).reasons[0]
    assert installed.host.vsctl("list-ports", "br0") == "late"


def test_second_call_finds_nothing(installed: Installed) -> None:
    """Running it twice is no error."""
    installed.uninstall()

    done = installed.uninstall()

    assert done.returncode == 0
    assert done.stdout.strip() == "nothing of Linen is here"


def test_install_again(installed: Installed) -> None:
    """After an uninstall the next install and ADD work as the first did."""
    installed.uninstall()
    source = installed.host.folder / "mine.conflist"
    source.write_text(json.dumps(example("master", "1.0.0")))
    installed.node.linenctl("install", "--conflist", source, "--plugin", FROZEN_PLUGIN)

    installed.node.chain.add("second")

    assert installed.bridges() == ["br0"]


def test_foreign_port_keeps_its_bridge(installed: Installed) -> None:
    """A bridge with a port of somebody else stays, off the Linux bridge, and the reason is told."""
    installed.host.vsctl(
        "add-port", "br0", "mine", "--", "set", "interface", "mine", "type=internal"
    )

    done = installed.uninstall()

    assert "OVS bridge br0 stays: others have ports on it (mine)" in done.stdout
    assert installed.host.vsctl("list-ports", "br0") == "mine"
    assert installed.host.records("Controller", "target") == []
    assert "master" not in installed.host.links()["br0"]

    installed.host.vsctl("del-port", "mine")
    installed.uninstall()
    assert installed.bridges() == []


def test_foreign_bridge_keeps_all_but_our_tunnels(installed: Installed) -> None:
    """A bridge that Linen did not make stays with its own ports and controllers."""
    installed.host.vsctl(
        "remove", "bridge", "br0", "external_ids", "linen-network",
        "--", "add-port", "br0", "mine", "--", "set", "interface", "mine", "type=internal",
    )  # fmt: skip

    installed.uninstall()

    assert installed.bridges() == ["br0"]
    assert installed.host.vsctl("list-ports", "br0") == "mine"


def test_keep_overlay(installed: Installed) -> None:
    """With --keep-overlay, pods that run go on reaching other nodes."""
    done = installed.uninstall("--keep-overlay")

    assert done.returncode == 0
    assert installed.files() == []
    assert "vxif10_245_2_2" in installed.host.vsctl("list-ports", "br0")
    assert installed.host.links()["br0"]["master"] == "kbr0"


def test_programs_that_another_conflist_names_stay(installed: Installed) -> None:
    """A reference plugin that we copied stays while another conflist needs it."""
    other = {"name": "x", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]}
    (installed.node.conf_dir / "other.conflist").write_text(json.dumps(other))

    done = installed.uninstall()

    assert installed.files() == ["bridge", "other.conflist"]
    assert "other.conflist names it" in done.stdout


def test_changed_and_foreign_programs_stay(installed: Installed) -> None:
    """A program that is not the one that was installed is somebody else's by now."""
    (installed.bin_dir / "bridge").write_bytes(b"another bridge")
    (installed.bin_dir / "portmap").write_bytes(b"never ours")

    done = installed.uninstall()

    assert installed.files() == ["bridge", "portmap"]
    assert "bridge: it is not the file that was installed" in done.stdout


def test_program_that_stayed_goes_later(installed: Installed) -> None:
    """What stayed for another conflist's sake is removed once that is gone."""
    other = installed.node.conf_dir / "other.conflist"
    other.write_text('{"name": "x", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]}')
    installed.uninstall()
    other.unlink()

    installed.uninstall()

    assert installed.files() == []


@pytest.mark.parametrize(
    ("content", "left"),
    [('{"plugins": [{"type": "linen"}, ', []), ('{"plugins": [{"type": "ptp"}]}', [CONFLIST])],
    ids=["cut off", "of another plugin"],
)
def test_conflist_that_was_changed(content: str, left: list[str], installed: Installed) -> None:
    """Our conflist goes also when it was broken since, but not what another plugin put there."""
    installed.node.conflist.write_text(content)

    installed.uninstall()

    assert installed.files() == left


def test_linen_without_a_record(installed: Installed) -> None:
    """A plugin that was copied by hand is known by how it introduces itself."""
    installed.record().unlink()

    installed.uninstall()

    assert installed.files() == ["bridge", "host-local"]


def test_program_of_somebody_else_named_linen(installed: Installed) -> None:
    """Another program under our plugin's name stays."""
    path = installed.bin_dir / "linen"
    path.write_text("#!/bin/sh\necho another >&2\n")
    path.chmod(0o755)

    done = installed.uninstall()

    assert installed.files() == ["linen"]
    assert "linen: it is not the file that was installed" in done.stdout


def test_program_that_cannot_be_removed(installed: Installed) -> None:
    """A file that the kernel keeps holds nothing else up, is told, and goes with a later call."""
    path = installed.bin_dir / "linen"
    installed.host.run("mount", "--bind", path, path)

    done = installed.uninstall()

    assert done.returncode == 1
    assert f"stays: {path}" in done.stdout
    assert installed.files() == ["linen"]
    assert installed.bridges() == []

    installed.host.run("umount", path)
    assert installed.uninstall().returncode == 0
    assert installed.files() == []


def test_ovsdb_away(installed: Installed) -> None:
    """Without OVSDB the files go all the same, and the exit status asks for another call."""
    installed.host.signal("KILL", "ovsdb-server")

    done = installed.uninstall()

    assert done.returncode == 1
    assert installed.files() == []
    assert "/var/run/openvswitch/db.sock" in done.stdout
    assert "/var/run/openvswitch/db.sock" in installed.record().read_text()


def test_linux_bridge_goes_at_the_second_attempt(installed: Installed) -> None:
    """A Linux bridge that stayed since OVSDB was away goes at the next call, when OVSDB is back."""
    installed.node.chain.delete("pod")
    installed.host.signal("KILL", "ovsdb-server")
    assert installed.uninstall().returncode == 1
    assert "kbr0" in installed.host.links()

    installed.host.run("sh", "-c", f"cd /run/openvswitch && {OVSDB_SERVER}")
    done = installed.uninstall()

    assert done.returncode == 0, done.stdout
    assert "kbr0" not in installed.host.links()
    assert not installed.record().exists()


def test_network_of_another_conflist_stays(installed: Installed) -> None:
    """A network that another conflist defines keeps its bridge, and the plugin stays for it."""
    document = example("master", "1.0.0")
    (installed.node.conf_dir / "05-kept.conflist").write_text(json.dumps(document))

    installed.uninstall()

    assert installed.bridges() == ["br0"]
    assert installed.files() == ["05-kept.conflist", "bridge", "host-local", "linen"]
