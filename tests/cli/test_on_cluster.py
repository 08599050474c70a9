# SPDX-License-Identifier: Apache-2.0
"""`linenctl … --kubernetes` before it comes to a cluster: what it refuses, and what it needs."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from linen.rollout import stages
from linen.rollout.errors import RolloutError
from linen.rollout.kubectl import Kubectl
from support.paths import LINENCTL

if TYPE_CHECKING:
    from pathlib import Path


def linenctl(*argv: str, path: str = os.defpath) -> subprocess.CompletedProcess[str]:
    """Run it with this PATH."""
    return subprocess.run(
        [*LINENCTL, *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": path},
    )


def test_every_wrong_value_is_told_at_once() -> None:
    """Values are judged by flaxd's own rules, before anything is applied, and all in one answer."""
    done = linenctl("install", "--kubernetes", "--mtu=3", "--topology=ring", "--vni=0", "--apply")

    assert done.returncode == 2
    for option in ("--mtu", "--topology", "--vni"):
        assert f"{option}: must be " in done.stderr


@pytest.mark.parametrize("registry", ["https://registry.example", "two words", "a//b", "x:y"])
def test_registry_is_part_of_an_images_name(registry: str) -> None:
    """What cannot stand before an image's name is refused."""
    done = linenctl("install", "--kubernetes", "--registry", registry)

    assert done.returncode == 2
    assert "HOST[:PORT][/PATH]" in done.stderr


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_missing_kubectl_is_named(command: str, tmp_path: Path) -> None:
    """Without kubectl it says that it needs it, and where to get it."""
    done = linenctl(command, "--kubernetes", path=str(tmp_path))

    assert done.returncode == 1
    assert "kubectl is not in PATH" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_help_leads_from_host_to_cluster(command: str) -> None:
    """The help of the command for a host names the one for a cluster, whose options are its own."""
    assert "--kubernetes --help" in linenctl(command, "--help").stdout
    for_cluster = linenctl(command, "--kubernetes", "--help").stdout
    assert f"linenctl {command} --kubernetes [OPTIONS]" in for_cluster
    assert "--bin-dir" not in for_cluster


@pytest.mark.parametrize(
    ("version", "is_enough"),
    [("1.30", False), ("1.30+", False), ("1.31", True), ("1.31+", True), ("2.0", True)],
)
def test_old_kubernetes_is_refused(
    version: str, *, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster whose API server does not know our policies is refused before anything is applied.

    Its kubectl here is a script that prints what kubectl prints of such a server.
    """
    major, minor = version.split(".")
    server = {"major": major, "minor": minor, "gitVersion": f"v{version}.0"}
    answer = json.dumps({"serverVersion": server})
    script = tmp_path / "kubectl"
    script.write_text(f"#!/bin/sh\necho '{answer}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")

    if is_enough:
        stages.require_version(Kubectl())
    else:
        with pytest.raises(RolloutError, match=r"needs 1\.31 or later"):
            stages.require_version(Kubectl())
