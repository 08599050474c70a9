# SPDX-License-Identifier: Apache-2.0
"""`linenctl install`: the right files in the right places, or nothing and a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.cni import Chain, plugin_entry
from support.conflists import example
from support.paths import DEBIAN_PLUGINS, FROZEN_PLUGIN, GO_TOOLS, LINENCTL

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from cli.conftest import Node


class Site:
    """A host before Linen: empty folders, a conflist to install from, and the built plugin."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.bin_dir = node.bin_dir = folder / "opt" / "bin"
        self.conf_dir = node.conf_dir = folder / "etc" / "net.d"
        self.source = folder / "mine.conflist"
        self.write(example("master", "1.0.0"))

    def write(self, document: dict[str, Any]) -> None:
        """Write the conflist to install from."""
        self.source.write_text(json.dumps(document))

    def install(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it with the conflist and the built plugin."""
        return self.node.linenctl(
            "install", "--conflist", self.source, "--plugin", FROZEN_PLUGIN, *argv
        )

    def chain(self, conflist: dict[str, Any]) -> Chain:
        """What is installed, as a runtime has it."""
        chain = Chain.__new__(Chain)
        chain.host, chain.cni_path, chain.folder = self.node.host, self.bin_dir, self.conf_dir
        chain.conflist = conflist
        return chain

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and mode of all that is installed."""
        folders = [path for path in (self.bin_dir, self.conf_dir) if path.exists()]
        paths = [path for folder in folders for path in folder.iterdir()]
        return {path.name: (path.read_bytes(), path.stat().st_mode & 0o777) for path in paths}


@pytest.fixture
def site(fresh: Node, short_folder: Path) -> Site:
    """A host before Linen."""
    return Site(fresh, short_folder)


def test_installs_all_that_a_runtime_needs(site: Site) -> None:
    """Plugin, reference plugins and conflist are there, with the modes that they need."""
    done = site.install()

    assert done.returncode == 0, done.stderr
    assert site.files() == {
        "linen": (FROZEN_PLUGIN.read_bytes(), 0o755),
        "bridge": ((DEBIAN_PLUGINS / "bridge").read_bytes(), 0o755),
        "host-local": ((DEBIAN_PLUGINS / "host-local").read_bytes(), 0o755),
        "linen.conflist": (site.source.read_bytes(), 0o600),
    }
    assert done.stdout.count("installed: ") == 4


def test_installed_chain_works(site: Site) -> None:
    """A pod is attached with what was installed, and then nothing is left to say."""
    site.install()

    result = site.chain(example("master", "1.0.0")).add("pod")

    assert result["interfaces"][0]["name"] == "kbr0"
    assert "vxif10_245_2_2" in site.node.host.vsctl("list-ports", "br0")
    assert site.node.faults() == [("controller", "warning")]


def test_second_call_changes_nothing(site: Site) -> None:
    """Installing again finds everything right and writes nothing."""
    site.install()
    before = {path: path.stat().st_ino for path in site.bin_dir.iterdir()}

    done = site.install()

    assert done.returncode == 0
    assert done.stdout.count("was right: ") == 4
    assert "installed: " not in done.stdout
    assert {path: path.stat().st_ino for path in site.bin_dir.iterdir()} == before


def test_dry_run_writes_nothing(site: Site) -> None:
    """A dry run tells what it would do, and leaves everything as it was."""
    done = site.install("--dry-run")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("would install: ") == 4
    assert site.files() == {}
    assert not site.node.state_dir.exists()


def test_plugin_alone(site: Site) -> None:
    """Without a conflist only the plugin is installed."""
    done = site.node.linenctl("install", "--plugin", FROZEN_PLUGIN)

    assert done.returncode == 0, done.stderr
    assert list(site.files()) == ["linen"]


def test_plugins_for_flaxd(site: Site) -> None:
    """What the daemon's conflist needs is installed beforehand, but for what others installed."""
    site.bin_dir.mkdir(parents=True)
    (site.bin_dir / "portmap").write_bytes((GO_TOOLS / "portmap").read_bytes())
    (site.bin_dir / "portmap").chmod(0o755)

    done = site.node.linenctl("install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)

    assert done.returncode == 0, done.stderr
    assert sorted(site.files()) == ["bridge", "host-local", "linen", "loopback", "portmap"]
    assert site.files()["portmap"][0] == (GO_TOOLS / "portmap").read_bytes()
    assert f"left alone: {site.bin_dir / 'portmap'}" in done.stdout


def test_links_of_an_administrator_stay(site: Site) -> None:
    """A link that somebody else made is left alone, also one that leads nowhere from here."""
    site.bin_dir.mkdir(parents=True)
    links = {"portmap": "/usr/nowhere/portmap", "bridge": str(DEBIAN_PLUGINS / "bridge")}
    for name, target in links.items():
        (site.bin_dir / name).symlink_to(target)

    for _ in range(2):
        done = site.node.linenctl("install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)
        assert done.returncode == 0, done.stderr
    gone = site.node.linenctl("uninstall")

    assert gone.returncode == 0, gone.stderr
    found = {path.name: str(path.readlink()) for path in site.bin_dir.iterdir()}
    assert found == links
    assert f"left alone: {site.bin_dir / 'portmap'}" in done.stdout


def test_link_to_what_was_installed_is_an_administrators(site: Site, tmp_path: Path) -> None:
    """Our file that somebody moved away and linked to is his from then on."""
    site.node.linenctl("install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)
    moved = (site.bin_dir / "bridge").rename(tmp_path / "bridge")
    (site.bin_dir / "bridge").symlink_to(moved)

    done = site.node.linenctl("install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)

    assert f"left alone: {site.bin_dir / 'bridge'}" in done.stdout
    assert (site.bin_dir / "bridge").readlink() == moved


def test_dangling_link_in_the_chain(site: Site) -> None:
    """On a host a link of the chain that leads nowhere is refused, with where it should lead."""
    site.bin_dir.mkdir(parents=True)
    (site.bin_dir / "bridge").symlink_to("/usr/nowhere/bridge")

    done = site.install()

    assert done.returncode == 1
    assert f"{site.bin_dir / 'bridge'} is a link to /usr/nowhere/bridge" in done.stderr
    assert list(site.conf_dir.glob("*")) == []


def test_installs_at_once_for_flaxd(site: Site) -> None:
    """Two init containers on one node, as after a node's repair, both succeed."""
    command = (*LINENCTL, "install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)
    folders = ("--bin-dir", site.bin_dir, "--state-dir", site.node.state_dir)

    started = [site.node.host.start(*command, *folders) for _ in range(4)]
    said = [process.communicate(timeout=30)[1] for process in started]

    assert [process.returncode for process in started] == [0, 0, 0, 0], said
    assert sorted(site.files()) == ["bridge", "host-local", "linen", "loopback", "portmap"]


@pytest.mark.parametrize("damage", ["", "[]", '{"files": 3}'])
def test_damaged_record(site: Site, damage: str) -> None:
    """flaxd's plugins are installed in spite of a damaged record, which is set aside and named."""
    site.node.linenctl("install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)
    record = site.node.state_dir / "installed.json"
    record.write_text(damage)
    (site.bin_dir / "portmap").unlink()

    done = site.node.linenctl("install", "--for-flaxd", "--plugin", FROZEN_PLUGIN)

    assert done.returncode == 0, done.stderr
    aside = record.with_name("installed.json.unreadable")
    assert f"{record} is not readable" in done.stdout
    assert str(aside) in done.stdout
    assert aside.read_text() == damage
    assert str(site.bin_dir / "portmap") in json.loads(record.read_text())["files"]


def test_damaged_record_of_a_host(site: Site) -> None:
    """Whoever installs a conflist by hand is told of a damaged record, and nothing is changed."""
    site.node.state_dir.mkdir()
    (site.node.state_dir / "installed.json").write_text("[]")

    done = site.install()

    assert done.returncode == 1
    assert "installed.json" in done.stderr
    assert site.files() == {}


def test_wrong_conflist_is_refused_whole(site: Site) -> None:
    """A conflist with errors installs nothing, and all its errors are told."""
    document = example("master", "1.0.0")
    document["plugins"][1]["ovs"] |= {"vtepIP": [], "stp": "yes"}
    site.write(document)

    done = site.install()

    assert done.returncode == 1
    assert site.files() == {}
    assert [word for word in ("ovs.vtepIP", "ovs.stp") if word not in done.stdout] == []


def test_one_name_for_both_bridges(site: Site) -> None:
    """A Linux bridge and an OVS bridge of one name are an error of check, and not installed."""
    document = example("master", "1.0.0")
    plugin_entry(document, "bridge")["bridge"] = "br0"
    site.write(document)

    for done in (site.node.linenctl("check", site.source), site.install()):
        assert done.returncode == 1
        assert "[bridge-names]" in done.stdout
    assert site.files() == {}


def test_version_is_lowered(site: Site) -> None:
    """A cniVersion that the distribution's plugins do not speak is lowered, and this is told."""
    site.write(example("master", "1.1.0"))

    done = site.install()

    installed = json.loads((site.conf_dir / "linen.conflist").read_text())
    assert installed == example("master", "1.0.0")
    assert "cniVersion 1.1.0 becomes 1.0.0" in done.stdout


@pytest.mark.parametrize(
    ("version", "several", "left"),
    [
        ("1.0.0", ["1.0.0", "1.1.0"], {"cniVersion": "1.0.0"}),
        ("1.1.0", ["1.0.0", "1.1.0"], {"cniVersion": "1.0.0"}),
        ("", ["1.1.0"], {"cniVersion": "1.0.0"}),
        (
            "0.4.0",
            ["1.1.0", "1.0.0", "0.4.0"],
            {"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "0.4.0"]},
        ),
    ],
)
def test_versions_that_a_plugin_does_not_speak_are_left_out(
    site: Site, version: str, several: list[str], left: dict[str, Any]
) -> None:
    """A runtime can choose none of several versions with which a plugin would refuse a pod."""
    document = example("master", version) | {"cniVersions": several}
    site.write(document)

    done = site.install()

    installed = json.loads((site.conf_dir / "linen.conflist").read_text())
    assert installed == example("master", "") | left
    assert f"cniVersions loses 1.1.0: it is not spoken by bridge ({DEBIAN_PLUGINS}" in done.stdout
    assert site.chain(installed).add("pod")["cniVersion"] == max(left.get("cniVersions", ["1.0.0"]))


def test_plugins_of_others_stay(site: Site) -> None:
    """A reference plugin that is there already is used as it is, not replaced."""
    site.bin_dir.mkdir(parents=True)
    for name in ("bridge", "host-local"):
        (site.bin_dir / name).write_bytes((GO_TOOLS / name).read_bytes())
        (site.bin_dir / name).chmod(0o755)
    site.write(example("master", "1.1.0"))

    done = site.install()

    assert done.stdout.count("left alone: ") == 2
    assert site.files()["bridge"][0] == (GO_TOOLS / "bridge").read_bytes()
    assert json.loads((site.conf_dir / "linen.conflist").read_text())["cniVersion"] == "1.1.0"


def test_missing_plugin_names_the_package(site: Site) -> None:
    """A plugin that is nowhere stops the installation; what is in a package is named with it."""
    document = example("master", "1.0.0")
    document["plugins"].append({"type": "no-such-plugin"})
    site.write(document)

    done = site.install()

    assert done.returncode == 1
    assert "no-such-plugin" in done.stderr
    assert "containernetworking-plugins" in done.stderr
    assert site.files() == {}


def test_conflist_of_another_plugin_stays(site: Site) -> None:
    """A linen.conflist that is not Linen's is not replaced."""
    site.conf_dir.mkdir(parents=True)
    path = site.conf_dir / "linen.conflist"
    path.write_text('{"name": "x", "plugins": [{"type": "ptp"}]}')

    done = site.install()

    assert done.returncode == 1
    assert str(path) in done.stderr
    assert list(site.files()) == ["linen.conflist"]


def test_file_that_comes_first_is_named(site: Site) -> None:
    """Another conflist that the runtime would take before ours is pointed out."""
    site.conf_dir.mkdir(parents=True)
    (site.conf_dir / "10-other.conf").write_text('{"name": "x", "type": "ptp"}')

    done = site.install()

    assert done.returncode == 0
    assert "10-other.conf comes before" in done.stdout


def test_nothing_is_installed_before_open_vswitch_runs(site: Site) -> None:
    """Without Open vSwitch the runtime must not find a conflist; an image can be prepared."""
    site.node.host.signal("KILL", "ovsdb-server")

    done = site.install()
    assert done.returncode == 1
    assert "/var/run/openvswitch/db.sock" in done.stderr
    assert site.files() == {}

    assert site.install("--offline").returncode == 0
    assert "linen.conflist" in site.files()


def test_folder_that_cannot_be_made(site: Site, tmp_path: Path) -> None:
    """What the file system refuses is told with its path."""
    obstacle = tmp_path / "file"
    obstacle.touch()
    site.bin_dir = site.node.bin_dir = obstacle / "bin"

    done = site.install()

    assert done.returncode == 1
    assert str(obstacle) in done.stderr


def test_broken_plugin_is_refused(site: Site, tmp_path: Path) -> None:
    """What does not answer as a CNI plugin is not installed as one."""
    broken = tmp_path / "linen"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)

    done = site.install("--plugin", broken)

    assert done.returncode == 1
    assert str(broken) in done.stderr
    assert site.files() == {}
