# SPDX-License-Identifier: Apache-2.0
"""The example conflists as tests use them: unchanged, but for what a test says that it changes."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from support.cni import Json, plugin_entry
from support.host import DATAPATH
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

# Every version that a configuration may name; "" is none at all, which means 0.1.0.
VERSIONS = ("", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


def read_conflist(path: Path) -> Json:
    """A conflist for the tests' datapath: `datapathType` is the only addition."""
    conflist = json.loads(path.read_text())
    assert isinstance(conflist, dict)
    options_of(plugin_entry(conflist, "linen"))["datapathType"] = DATAPATH
    return conflist


def example(name: str = "master", version: str | None = None) -> Json:
    """One of examples/*.linen.conflist, in another version of the specification if one is named."""
    conflist = read_conflist(EXAMPLES / f"{name}.linen.conflist")
    if version is not None:
        set_version(conflist, version)
    return conflist


def set_version(conflist: Json, version: str) -> None:
    """Let the list name another version; the empty one by leaving the key out."""
    conflist.pop("cniVersion", None)
    if version:
        conflist["cniVersion"] = version


def options_of(entry: Json) -> dict[str, Any]:
    """Our options in a plugin's entry: `ovs`, or the original's `runtimeConfig.ovs`."""
    options = entry["ovs"] if "ovs" in entry else entry["runtimeConfig"]["ovs"]
    assert isinstance(options, dict)
    return options


def multus_file(original: Json, **changes: object) -> Json:
    """What Multus 4.3.0 writes into the folder where it has found a conflist.

    As its template has it (createMultusConfig, cmd/thin_entrypoint/main.go). `changes`: of its
    plugin's entry; None takes a key out.
    """
    entry: Json = {
        "type": "multus",
        "cniConf": "/host/etc/cni/multus/net.d",
        "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
        "delegates": [deepcopy(original)],
    }
    entry = {key: value for key, value in (entry | changes).items() if value is not None}
    head = {"cniVersion": original["cniVersion"], "name": "multus-cni-network"}
    is_list = original["cniVersion"] >= "1.0.0"
    return head | {"plugins": [entry]} if is_list else head | entry
