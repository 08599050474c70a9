# SPDX-License-Identifier: Apache-2.0
"""Linen's Kubernetes manifests, rendered for one cluster.

They are the kustomizations in deploy/, which `kubectl apply -k` takes as they are. Here a copy of
one gets what was asked for, as an administrator would write it by hand, and kubectl renders it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import linen
from linen.rollout.errors import RolloutError
from linen.settings.table import variable_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linen.rollout.kubectl import Kubectl

NAMESPACE, SERVICE_ACCOUNT, DAEMON_SET = "linen-system", "flaxd", "linen"
IMAGES = ("linen", "linen-ovs", "linen-controller")
BUILT = "localhost"  # where the manifests have them: on the node, as scripts/image has built them
HOST_OVS, BUNDLED_OVS = "host-ovs", "bundled-ovs"

# The settings of flaxd that have a line in the ConfigMap of deploy/base.
VALUES = (
    "cluster-range",
    "topology",
    "mtu",
    "vtep-interface",
    "vtep-family",
    "vni",
    "datapath-type",
    "controller",
)

# HOST[:PORT][/PATH], as in an image's name: https://github.com/distribution/reference
_REGISTRY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")


@dataclass(frozen=True)
class Rollout:
    """What a cluster is to get.

    `overlay`: a folder of deploy. `components`: folders of deploy/components, besides.
    `values`: texts of settings, by name.
    `registry`: where the images are, "" for the nodes themselves.
    """

    overlay: str
    components: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    registry: str = ""


EVERYTHING = Rollout(BUNDLED_OVS, ("controller",))  # whatever was chosen is among it


def render(rollout: Rollout, kubectl: Kubectl) -> str:
    """The manifests as YAML. Raises `RolloutError`."""
    source = _find_deploy()
    with tempfile.TemporaryDirectory(prefix="linen-manifests-") as folder:
        copy = shutil.copytree(source, Path(folder, "deploy"))
        path = copy / rollout.overlay / "kustomization.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        text = yaml.safe_dump(_changed(document, rollout), sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return kubectl.run("kustomize", str(path.parent))


def parse_registry(text: str) -> str:
    """A registry's name as it stands before an image's. Raises `ValueError`."""
    name = text.rstrip("/")
    if not _REGISTRY.fullmatch(name):
        raise ValueError(f"must be HOST[:PORT][/PATH], as in an image's name, is {text!r}")
    return name


def _find_deploy() -> Path:
    """deploy/, where the wheel or the checkout has it."""
    package = Path(linen.__file__).resolve().parent
    for candidate in (package / "deploy", package.parents[1] / "deploy"):
        if (candidate / "base" / "kustomization.yaml").is_file():
            return candidate
    raise RolloutError(f"no manifests in {package / 'deploy'}", "install linen-cni again")


def _changed(document: dict[str, Any], rollout: Rollout) -> dict[str, Any]:
    """An overlay's kustomization with what was asked for."""
    components = [f"../components/{name}" for name in rollout.components]
    changed = document | {"components": [*document.get("components", ()), *components]}
    if rollout.values:
        merged = [f"{variable_of(name)}={text}" for name, text in rollout.values.items()]
        changed["configMapGenerator"] = [
            {"name": "linen", "namespace": NAMESPACE, "behavior": "merge", "literals": merged}
        ]
    if rollout.registry:
        changed["images"] = [
            {"name": f"{BUILT}/{image}", "newName": f"{rollout.registry}/{image}"}
            for image in IMAGES
        ]
    return changed
