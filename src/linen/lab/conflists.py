# SPDX-License-Identifier: Apache-2.0
"""The conflist of a node: rendered from the description, or adapted from one that was given.

Pure, except for `read_conflists` and `read_conflist`, which read a folder and a file.
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from linen.lab.description import (
    LINUX_BRIDGE,
    NETWORK_NAME,
    OVS_BRIDGE,
    POD_MTU,
    Conflist,
    LabDescription,
    NodeDescription,
    PodRange,
)
from linen.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OBJECTS = ("capabilities", "ipam", "ovs", "runtimeConfig")  # keys of a plugin
_VERSION = re.compile(r"\d+(\.\d+)*")


def conflist_of(description: LabDescription, node: NodeDescription, cni_version: str) -> Conflist:
    """Give the node's conflist: the one that was given, or a rendered one of `cni_version`."""
    if description.conflists:
        conflist = description.conflists[node.index - 1]
    else:
        conflist = render_conflist(description, node, cni_version)
    return with_datapath(conflist, "netdev") if description.datapath == "netdev" else conflist


def render_conflist(
    description: LabDescription, node: NodeDescription, cni_version: str
) -> Conflist:
    """Render bridge, then linen, then portmap, for one node of the lab."""
    return {
        "cniVersion": cni_version,
        "name": NETWORK_NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": LINUX_BRIDGE,
                "isGateway": True,
                "isDefaultGateway": True,
                "ipMasq": True,
                "hairpinMode": False,
                "mtu": POD_MTU,
                "ipam": {"type": "host-local", **_render_ranges(description.pod_ranges(node))},
            },
            {
                "type": "linen",
                "ovs": {
                    "isMaster": description.topology == "star" and node.index == 1,
                    "ovsBridge": OVS_BRIDGE,
                    "topology": description.topology,
                    "vtepIPs": [str(address) for address in description.tunnel_ends(node)],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _render_ranges(ranges: list[PodRange]) -> dict[str, Any]:
    """Render host-local's ranges: one as in the examples, several as sets of one each."""
    rendered = [
        {
            "subnet": str(pods.whole),
            "rangeStart": str(pods.first),
            "rangeEnd": str(pods.last),
            "gateway": str(pods.gateway),
        }
        for pods in ranges
    ]
    return rendered[0] if len(rendered) == 1 else {"ranges": [[one] for one in rendered]}


def render_json(conflist: Conflist) -> str:
    """Turn a conflist into the content of a file that people read."""
    return json.dumps(conflist, indent=2) + "\n"


def plugin_types(conflist: Conflist) -> set[str]:
    """Name the plugins that a conflist runs, those for address management included."""
    ipams = (plugin.get("ipam", {}).get("type") for plugin in conflist["plugins"])
    return {plugin["type"] for plugin in conflist["plugins"]} | set(filter(None, ipams))


def with_datapath(conflist: Conflist, datapath: str) -> Conflist:
    """Copy a conflist, with `datapathType` set in the options of each linen plugin.

    A conflist that names a datapath already is left alone.
    """
    adapted = copy.deepcopy(conflist)
    for options in _options(adapted):
        options.setdefault("datapathType", datapath)
    return adapted


def is_master(conflist: Conflist) -> bool:
    """Tell whether this is the conflist of a star's master."""
    return any(options.get("isMaster") is True for options in _options(copy.deepcopy(conflist)))


def _options(conflist: Conflist) -> Iterator[dict[str, Any]]:
    """Find the options of each linen plugin, and make a place for them where there is none.

    They are at the top level of the plugin's object, or, in the form of 2017, below
    `runtimeConfig`.
    """
    for plugin in conflist["plugins"]:
        if plugin["type"] == "linen":
            legacy = plugin.get("runtimeConfig", {}).get("ovs")
            yield legacy if legacy and "ovs" not in plugin else plugin.setdefault("ovs", {})


def read_conflists(folder: Path) -> tuple[Conflist, ...]:
    """Read the folder's `*.conflist` files, the first for node1, in the order a person counts.

    So master comes before minion1, and minion2 before minion10.
    """
    paths = sorted(folder.glob("*.conflist"), key=_natural_order)
    if not paths:
        raise LabError(f"{folder}: no file named *.conflist")
    return tuple(read_conflist(path, str(path)) for path in paths)


def read_conflist(path: Path, shown: str) -> Conflist:
    """Read a conflist; LabError, with the path as it is `shown`, if the file is none."""
    try:
        conflist = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LabError(f"{shown}: {error}") from error
    check_conflist(conflist, shown)
    return dict(conflist)


def check_conflist(conflist: Any, where: str) -> None:  # noqa: ANN401 (any JSON value)
    """Raise LabError unless this has the shape that every CNI runtime asks for."""
    plugins = conflist.get("plugins") if isinstance(conflist, dict) else None
    named = isinstance(plugins, list) and all(
        isinstance(plugin, dict) and isinstance(plugin.get("type"), str) for plugin in plugins
    )
    if not (plugins and named and isinstance(conflist.get("name"), str)):
        raise LabError(
            f"{where}: a conflist is an object with a name and a list of plugins, "
            "each of which has a type"
        )
    version = conflist.get("cniVersion") or "0.1.0"
    if not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise LabError(f'{where}: cniVersion {version!r} is no version such as "1.0.0"')
    for plugin in plugins:
        _check_plugin(plugin, where)


def _check_plugin(plugin: dict[str, Any], where: str) -> None:
    """Raise LabError unless the options that a runtime or the lab looks into are objects."""
    for key in _OBJECTS:
        if not isinstance(plugin.get(key, {}), dict):
            raise _wrong(where, key, plugin, "an object")
    if not isinstance(plugin.get("runtimeConfig", {}).get("ovs", {}), dict):
        raise _wrong(where, "runtimeConfig.ovs", plugin, "an object")
    if not isinstance(plugin.get("ipam", {}).get("type", ""), str):
        raise _wrong(where, "ipam.type", plugin, "a plugin's name")


def _wrong(where: str, key: str, plugin: dict[str, Any], right: str) -> LabError:
    return LabError(f"{where}: {key} of plugin {plugin['type']} has to be {right}")


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Compare runs of digits as numbers."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
