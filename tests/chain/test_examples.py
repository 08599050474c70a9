# SPDX-License-Identifier: Apache-2.0
"""The example conflists, the original's files among them, give the original's results.

Every file runs as it is; `datapathType` is added since these hosts have no kernel datapath.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.conftest import Recorder
from support.cni import Chain, Json, plugin_entry
from support.conflists import VERSIONS, example, options_of, read_conflist, set_version
from support.host import DATAPATH
from support.paths import CHECKOUT, EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host

CONFLISTS = sorted(
    str(path.relative_to(CHECKOUT))
    for folder in (EXAMPLES, EXAMPLES / "original")
    for path in folder.glob("*.linen.conflist")
)
BY_DEBIAN = VERSIONS[: VERSIONS.index("1.1.0")]  # what reference plugins 1.1.1 speak

MASTER_SHOWN = f"""
Bridge br0
Controller "tcp:192.168.2.100:6653"
fail_mode: standalone
datapath_type: {DATAPATH}
Port br0
Interface br0
type: internal
Port vxif10_245_2_2
Interface vxif10_245_2_2
type: vxlan
options: {{key=flow, remote_ip="10.245.2.2"}}
Port vxif10_245_2_3
Interface vxif10_245_2_3
type: vxlan
options: {{key=flow, remote_ip="10.245.2.3"}}
"""


def shown(host: Host) -> list[str]:
    """The lines of `ovs-vsctl show` in alphabetical order, without the first, a random UUID."""
    return sorted(line.strip() for line in host.vsctl("show").splitlines()[1:])


def tunnels(host: Host) -> dict[str, dict[str, str]]:
    """By port name, the options of each VXLAN tunnel."""
    rows = host.records("Interface", "name", "type", "options")
    return {row["name"]: row["options"] for row in rows if row["type"] == "vxlan"}


def expected_tunnels(conflist: Json) -> dict[str, dict[str, str]]:
    """The tunnels that a conflist's VTEP addresses stand for."""
    vteps = options_of(plugin_entry(conflist, "linen"))["vtepIPs"]
    return {f"vxif{vtep.replace('.', '_')}": {"key": "flow", "remote_ip": vtep} for vtep in vteps}


def test_every_example_is_found() -> None:
    """Three files of ours and the original's three are tested below."""
    assert len(CONFLISTS) == 6


@pytest.mark.parametrize("path", CONFLISTS)
def test_example_attaches_the_pod_and_builds_the_overlay(
    path: str, host: Host, cni_path: Path
) -> None:
    """An example gives a pod that reaches its gateway, and one tunnel for each VTEP."""
    conflist = read_conflist(CHECKOUT / path)
    chain = Chain(host, conflist, cni_path)

    result = chain.add("pod")

    assert [interface["name"] for interface in result["interfaces"]][0::2] == ["kbr0", "eth0"]
    assert tunnels(host) == expected_tunnels(conflist)
    assert host.links()["br0"]["master"] == "kbr0"
    assert host.links()["br0"]["mtu"] == 1400
    assert "UP" in host.links()["br0"]["flags"]
    gateway = result["ips"][0]["gateway"]
    host.run("ip", "netns", "exec", "pod", "ping", "-c1", "-w30", gateway)
    assert chain.delete("pod").status == 0


def test_original_master_shows_what_the_original_showed(host: Host, cni_path: Path) -> None:
    """`ovs-vsctl show` says of the original's master.linen.conflist what its README says."""
    conflist = read_conflist(EXAMPLES / "original" / "master.linen.conflist")

    Chain(host, conflist, cni_path).add("pod")

    assert [line for line in shown(host) if not line.startswith("ovs_version")] == sorted(
        MASTER_SHOWN.split("\n")[1:-1]
    )


def attach_and_compare(chain: Chain, recorder: Recorder, version: str) -> None:
    """Run a pod through its life in one version; the result must be the one from before us."""
    result = chain.add("pod")
    given = recorder.stdin("ADD")
    assert result == given["prevResult"]
    assert result.get("cniVersion") == (version or "0.1.0")
    assert tunnels(chain.host) == expected_tunnels(chain.conflist)
    assert chain.host.links()["br0"]["master"] == "kbr0"
    if version in {"0.4.0", "1.0.0", "1.1.0"}:
        assert chain.check("pod").status == 0, chain.check("pod")
    assert chain.delete("pod").status == 0
    assert chain.host.run("ip", "-n", "pod", "link", "show", "eth0", check=False).returncode != 0


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_with_current_reference_plugins(
    version: str, host: Host, cni_path: Path, recorder: Recorder
) -> None:
    """In each version ADD returns bridge's result unchanged, and CHECK and DEL pass."""
    attach_and_compare(Chain(host, example("master", version), cni_path), recorder, version)


@pytest.mark.parametrize("version", BY_DEBIAN)
def test_every_version_with_the_distributions_reference_plugins(
    version: str, host: Host, debian_cni_path: Path, short_folder: Path
) -> None:
    """The distribution's older reference plugins work as well, in all versions that they speak."""
    recorder = Recorder(debian_cni_path, short_folder / "recorded")
    attach_and_compare(Chain(host, example("master", version), debian_cni_path), recorder, version)


@pytest.mark.parametrize("version", ["", "0.2.0", "0.3.1"])
def test_original_in_old_versions(version: str, host: Host, cni_path: Path) -> None:
    """The original's own file works in the versions that were current then."""
    conflist = read_conflist(EXAMPLES / "original" / "minion1.linen.conflist")
    set_version(conflist, version)
    chain = Chain(host, conflist, cni_path)

    chain.add("pod")

    assert tunnels(host) == expected_tunnels(conflist)
    assert chain.delete("pod").status == 0


def test_runtime_picks_from_several_versions(host: Host, cni_path: Path) -> None:
    """A list for old and new runtimes alike works in the highest version of its choice."""
    conflist = example("master", "")
    conflist["cniVersions"] = ["0.4.0", "1.0.0", "1.1.0"]
    chain = Chain(host, conflist, cni_path)

    assert chain.add("pod")["cniVersion"] == "1.1.0"
    assert chain.check("pod").status == 0


def test_plugins_behind_us_in_the_chain(host: Host, cni_path: Path) -> None:
    """portmap, firewall, tuning and bandwidth work behind us, and CHECK bears their changes."""
    conflist = example("master", "1.1.0")
    conflist["plugins"] += [
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        {"type": "firewall", "backend": "iptables"},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_notify": "1"}, "mtu": 1300},
        {"type": "bandwidth", "ingressRate": 10_000_000, "ingressBurst": 10_000_000},
    ]
    chain = Chain(host, conflist, cni_path)
    mapping = '{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}'

    chain.add("pod", {"CAP_ARGS": mapping})

    assert chain.run("check", "pod", {"CAP_ARGS": mapping}).status == 0
    assert chain.run("del", "pod", {"CAP_ARGS": mapping}).status == 0


def test_legacy_block_vanishes_with_a_capability_but_the_new_place_stays(
    host: Host, cni_path: Path
) -> None:
    """Top-level `ovs` reaches the plugin though a runtime passes a capability to it."""
    conflist = example("master", "1.1.0")
    plugin_entry(conflist, "linen")["capabilities"] = {"portMappings": True}

    Chain(host, conflist, cni_path).add("pod", {"CAP_ARGS": '{"portMappings": []}'})

    assert tunnels(host) == expected_tunnels(conflist)
