# SPDX-License-Identifier: Apache-2.0
"""kubectl and `linenctl … --kubernetes` as an administrator calls them, and what they render."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from support.paths import CHECKOUT, KUBERNETES, LINENCTL

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY = CHECKOUT / "deploy"
OVERLAYS = sorted(
    p.parent.name for p in DEPLOY.glob("*/kustomization.yaml") if "base" not in p.parts
)

Object = dict[str, Any]


def kubectl(*argv: str | Path, kubeconfig: Path | None = None, stdin: str = "") -> str:
    """What kubectl prints; a failure of it fails the test."""
    access = [] if kubeconfig is None else [f"--kubeconfig={kubeconfig}"]
    done = _run(["kubectl", *access, *argv], stdin)
    assert done.returncode == 0, f"kubectl {argv}: {done.stdout}{done.stderr}"
    return done.stdout


def linenctl(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it, with kubectl in PATH."""
    done = _run([*LINENCTL, *argv])
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rendered(overlay: str) -> list[Object]:
    """The objects of an overlay."""
    return parsed(_kustomized(overlay))


@cache
def _kustomized(overlay: str) -> str:
    return kubectl("kustomize", DEPLOY / overlay)


def parsed(text: str) -> list[Object]:
    """The objects in what kubectl or linenctl has printed."""
    return list(yaml.safe_load_all(text))


def pods_of(objects: list[Object]) -> dict[str, Object]:
    """The pods' specs in DaemonSets and Deployments, by name."""
    return {
        found["metadata"]["name"]: found["spec"]["template"]["spec"]
        for found in objects
        if found["kind"] in {"DaemonSet", "Deployment"}
    }


def containers_of(spec: Object) -> dict[str, Object]:
    """The containers of a pod, those that run at first included, by name."""
    both = [*spec.get("initContainers", []), *spec["containers"]]
    return {container["name"]: container for container in both}


def settings_of(objects: list[Object]) -> dict[str, str]:
    """flaxd's environment."""
    (values,) = (found["data"] for found in objects if found["kind"] == "ConfigMap")
    environment: dict[str, str] = dict(values)
    (flaxd,) = (
        containers["flaxd"]
        for containers in map(containers_of, pods_of(objects).values())
        if "flaxd" in containers
    )
    for variable in flaxd["env"]:
        environment[variable["name"]] = variable.get("value", "node1")  # else from the pod's spec
    return environment


def _run(command: list[Any], stdin: str = "") -> subprocess.CompletedProcess[str]:
    assert (KUBERNETES / "kubectl").exists(), "no kubectl: run scripts/setup kubernetes"
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PATH": f"{KUBERNETES}:{os.environ['PATH']}"},
    )
