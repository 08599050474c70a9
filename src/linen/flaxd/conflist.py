# SPDX-License-Identifier: Apache-2.0
"""The node's conflist: rendered from the settings and the node's own part of the pod network.

A file that somebody else wrote is left alone, except that the old place of linen's options is
moved to the new one. Ours carries `managedBy`, a key that runtimes ignore. It is written last,
when the overlay works, since a runtime takes a node with a conflist for ready.
"""

from __future__ import annotations

import copy
import ipaddress
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linen.cni import options, versions
from linen.core import model
from linen.flaxd import pod_network
from linen.host import files, programs
from linen.host.conflists import BRIDGE, FLAXD, LINEN, MANAGED_BY, Conflist, Network, is_managed
from linen.host.errors import HostError
from linen.settings.table import GATEWAY_DEFAULT, NETWORK_KEYS, OVERLAY_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from linen.light.json import Json
    from linen.settings.table import Settings

Document = dict[str, Any]

# What a plugin speaks that cannot be asked: reference plugins before that are not supported.
UNSEEN = versions.SUPPORTED[: versions.SUPPORTED.index("1.0.0") + 1]


def render(
    settings: Settings,
    cluster_range: Sequence[str],
    ranges: Sequence[str],
    mtu: int | None,
    cni_versions: Sequence[str],
) -> Document:
    """The conflist of the node that owns `ranges` of `cluster_range`, both as CIDRs.

    `cni_versions`: those that all plugins speak, oldest first. A runtime takes the newest that it
    knows; one that does not know `cniVersions` (containerd before 2.0) takes the first.
    """
    bridge: Document = {
        "type": "bridge",
        "bridge": settings.linux_bridge,
        **_gateway(settings),
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": _ipam_ranges(cluster_range, ranges)},
    }
    if mtu is not None:
        bridge["mtu"] = mtu
    plugins: list[Document] = [bridge, {"type": "linen", "ovs": overlay_block(settings.overlay)}]
    if settings.gateway == GATEWAY_DEFAULT:
        plugins.append({"type": "portmap", "capabilities": {"portMappings": True}})
    return {
        "cniVersion": cni_versions[0],
        "cniVersions": list(cni_versions),
        "name": settings.network,
        MANAGED_BY: FLAXD,
        "plugins": plugins,
    }


def _gateway(settings: Settings) -> Document:
    """What makes the node its pods' way out."""
    if settings.gateway != GATEWAY_DEFAULT:
        return {}
    return {
        "isDefaultGateway": True,
        # A Node that was deleted and comes back has another range, and so another gateway. Without
        # this the plugin would refuse to change the Linux bridge's address, and no pod would start.
        "forceAddress": True,
        "ipMasq": True,
    }


def _ipam_ranges(cluster: Sequence[str], ranges: Sequence[str]) -> list[list[dict[str, str]]]:
    """One set of host-local's ranges for each IP version: the subnet is all of the segment.

    All of a set have one gateway: `bridge` gives the Linux bridge that of the pod that it is
    making, and takes the one before away (`forceAddress`). The first address of each is no pod's,
    so that any of them can be the one with the gateway one day.
    """
    subnets = {net.version: net for net in map(ipaddress.ip_network, cluster)}
    found = pod_network.gateways(tuple(ranges), tuple(cluster))
    gateways = {ipaddress.ip_address(gateway).version: gateway for gateway in found}
    sets: dict[int, list[dict[str, str]]] = {}
    for own in map(ipaddress.ip_network, ranges):
        last = own.broadcast_address - (1 if own.version == 4 else 0)
        part = {
            "subnet": str(subnets[own.version]),
            "rangeStart": str(own.network_address + 2),
            "rangeEnd": str(last),
            "gateway": gateways[own.version],
        }
        sets.setdefault(own.version, []).append(part)
    return [sets[version] for version in sorted(sets)]


def overlay_block(overlay: model.OverlayOptions) -> dict[str, Json]:
    """The `ovs` block by which the plugin wants what the daemon wants, but for tunnels."""
    default = model.OverlayOptions()
    block: dict[str, Json] = {"ovsBridge": overlay.ovs_bridge, "topology": overlay.topology}
    optional: dict[str, Json] = {
        "controller": list(overlay.controllers) or None,
        "vni": overlay.vni,
        "dstPort": overlay.dst_port,
        "datapathType": None
        if overlay.datapath_type is None
        else overlay.datapath_type or "system",
        "stp": overlay.stp if overlay.stp != default.stp else None,
        "tunnelOptions": overlay.tunnel_options or None,
        "ovsdb": f"unix:{overlay.ovsdb}" if overlay.ovsdb != default.ovsdb else None,
    }
    return block | {key: value for key, value in optional.items() if value is not None}


def common_versions(bin_dir: Path) -> list[str]:
    """The versions of CNI, oldest first, that all installed plugins of our conflist speak.

    Those before 1.0.0 only where there are no others. Raises `HostError` where a plugin is missing.
    """
    common = set(versions.SUPPORTED)
    for name in programs.FLAXD_CHAIN:
        path = bin_dir / name
        # An administrator's link may lead to a folder of the node that our container does not have.
        is_hidden = path.is_symlink() and not path.exists()
        common &= set(UNSEEN if is_hidden else programs.ask_versions(path))
    spoken = sorted(common, key=programs.version_key)
    return [one for one in spoken if programs.version_key(one) >= (1,)] or spoken[-1:]


def read(path: Path) -> Document | None:
    """The conflist that is there, None where there is none.

    Raises `HostError` for a file that is no conflist: it may be somebody's work, so it stays.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HostError(f"{path} cannot be used: {error}", "mend it, or remove it") from None
    if not isinstance(document, dict) or not isinstance(document.get("plugins"), list):
        raise HostError(f"{path} has no list of plugins", "mend it, or remove it")
    return document


def read_administrators(path: Path) -> Document | None:
    """The conflist at `path` if somebody else wrote it; None where that is ours, or none.

    Raises `HostError` as `read` does.
    """
    document = read(path)
    return None if document is None or is_managed(document) else document


def adopt(settings: Settings, document: Document) -> tuple[Settings, list[str]]:
    """The settings of a network whose conflist an administrator wrote, and what contradicts it.

    Plugin and daemon have to want the same, so what the file says holds, and what somebody has
    set otherwise for the daemon is a fault.
    """
    faults: list[str] = []
    found = Conflist(settings.conflist, document)
    bridges, linens = (found.of_type(plugin) for plugin in (BRIDGE, LINEN))
    if not bridges or not linens:
        return settings, [f"{settings.conflist}: has no entry of type bridge, or none of linen"]
    (_, bridge), (_, linen) = bridges[0], linens[0]
    if not found.name:
        faults.append(f"{settings.conflist}: `name` is missing, or no string")
    theirs = options.parse(linen, faults, [])
    _, block = options.find_block(linen, [], [])
    agreed: dict[str, Json] = {"vteps": (), "is_master": theirs.is_master}
    for name, key in OVERLAY_KEYS.items():
        field = options.OPTIONS[key][0]
        their, our = getattr(theirs, field), getattr(settings.overlay, field)
        faults += _contradiction(settings, name, our, key, their)
        agreed[field] = their if key in block else our
    adopted = replace(
        settings,
        network=found.name,
        linux_bridge=Network(found.name, theirs, found, bridge).linux_bridge,
        overlay=model.OverlayOptions(**agreed),
    )
    for name, key in NETWORK_KEYS.items():
        field = name.replace("-", "_")
        our, their = getattr(settings, field), getattr(adopted, field)
        faults += _contradiction(settings, name, our, key, their)
    return adopted, faults


def _contradiction(settings: Settings, name: str, our: Json, key: str, their: Json) -> list[str]:
    """That somebody has set `name` for the daemon to something else than the conflist says."""
    if name not in settings.given or our == their:
        return []
    return [f"{name} is {our!r}, but {settings.conflist} says {key} {their!r}"]


def migrated(document: Document) -> Document | None:
    """A conflist with linen's options moved out of `runtimeConfig`, None if they aren't there."""
    changed = copy.deepcopy(document)
    found = False
    for entry in changed.get("plugins", []):
        if not isinstance(entry, dict) or entry.get("type") != "linen":
            continue
        runtime = entry.get("runtimeConfig")
        if isinstance(runtime, dict) and "ovs" in runtime:
            legacy = runtime.pop("ovs")
            entry.setdefault("ovs", legacy)
            found = True
            if not runtime:
                del entry["runtimeConfig"]
    return changed if found else None


def write(path: Path, document: Document) -> bool:
    """Put the conflist in place, whole, mode 0600. Whether that changed anything."""
    content = (json.dumps(document, indent=2) + "\n").encode()
    if files.find_digest(path) == files.digest(content):
        return False
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write_whole(path, content, files.SECRET)
    return True
