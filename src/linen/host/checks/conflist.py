# SPDX-License-Identifier: Apache-2.0
"""Checks of one conflist by itself, wherever it lies and whichever node it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linen.cni import config, options, versions
from linen.core import addresses, cluster, errors, model
from linen.host.conflists import BRIDGE, LINEN, is_managed, networks_of
from linen.host.findings import Check, error, note, warning
from linen.host.pod_ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.host.conflists import Conflist
    from linen.host.findings import Finding

# Reference plugins that attach a pod to something else than a Linux bridge.
BRIDGELESS = frozenset({"dummy", "host-device", "ipvlan", "macvlan", "ptp", "tap", "vlan"})
DEFAULT_ROUTES = {"0.0.0.0/0": "IPv4", "::/0": "IPv6"}


def structure(conflist: Conflist) -> Iterator[Finding]:
    """What every CNI runtime asks of a conflist."""
    yield from _name(conflist)
    yield from _versions(conflist)
    plugins = conflist.document.get("plugins")
    if "type" in conflist.document and plugins is None:
        return
    if not isinstance(plugins, list) or not plugins:
        yield error(
            conflist.at("plugins"),
            f"must be a list of plugins, is {options.kind(plugins)}",
            cure="put the entries of `bridge` and `linen` into it",
        )
        return
    for index, entry in enumerate(plugins):
        kind = entry.get("type") if isinstance(entry, dict) else entry
        if not isinstance(entry, dict) or not isinstance(kind, str) or not kind:
            yield error(
                conflist.at(f"plugins[{index}]"),
                f"must be an object with a `type`, is {options.kind(entry)}",
                cure="`type` is the name of the plugin's file in /opt/cni/bin",
            )
    for program in sorted(name for name in conflist.programs() if "/" in name):
        yield error(
            str(conflist.path),
            f"{options.kind(program)} is no plugin's name",
            cause="a runtime looks for plugins in its own folders only",
            cure="`type` is the name of a file, without a folder",
        )


def _name(conflist: Conflist) -> Iterator[Finding]:
    try:
        config.parse({"name": conflist.document.get("name")})
    except errors.ConfigInvalid as fault:
        yield error(
            conflist.at("name"),
            fault.message.removeprefix("name: "),
            cure="give the network a name, such as linen-network",
        )


def _versions(conflist: Conflist) -> Iterator[Finding]:
    several = conflist.document.get("cniVersions")
    if several is not None and not isinstance(several, list):
        yield error(
            conflist.at("cniVersions"),
            f"must be a list of versions, is {options.kind(several)}",
            cure="leave it out; `cniVersion` names one version",
        )
    named = [("cniVersion", conflist.document.get("cniVersion"))]
    named += [("cniVersions", one) for one in (several if isinstance(several, list) else [])]
    for key, version in named:
        if version not in (None, "") and version not in versions.SUPPORTED:
            yield error(
                conflist.at(key),
                f"{options.kind(version)} is no version that linen speaks",
                cure=f"one of {', '.join(versions.SUPPORTED)}; 1.0.0 suits every runtime of today",
            )


def repeated_keys(conflist: Conflist) -> Iterator[Finding]:
    """A key that stands twice in one object: JSON parsers keep the last and say nothing."""
    for key in conflist.repeated:
        yield warning(
            str(conflist.path),
            f"the key {options.kind(key)} stands twice in one object",
            cause="the last one counts, the first is ignored without a word",
            cure="remove one of them",
        )


def chain(conflist: Conflist) -> Iterator[Finding]:
    """Linen stands once, behind the plugin that makes the Linux bridge."""
    types = [(place, entry.get("type")) for place, entry in conflist.entries]
    linens = [place for place, kind in types if kind == LINEN]
    if not linens:
        yield error(
            str(conflist.path),
            "no plugin in it has the type linen",
            cure='add {"type": "linen", "ovs": {…}} behind `bridge`',
        )
        return
    for place in linens[1:]:
        yield error(
            conflist.at(place),
            "linen stands twice in the chain",
            cause="two OVS bridges on one Linux bridge are two ways to each node: a loop",
            cure="one conflist per network; put all VTEPs into one `vtepIPs`",
        )
    if "plugins" not in conflist.document:
        yield error(
            str(conflist.path),
            "this is the configuration of a single plugin",
            cause="linen works on the result of the plugin before it",
            cure="make it a .conflist, with `bridge` and `linen` in `plugins`",
        )
        return
    yield from _predecessors(conflist, linens[0], types)


def _predecessors(
    conflist: Conflist, linen: str, types: list[tuple[str, Any]]
) -> Iterator[Finding]:
    position = [place for place, _ in types].index(linen)
    before = [kind for _, kind in types[:position]]
    behind = [kind for _, kind in types[position:]]
    if BRIDGE in before:
        return
    if BRIDGE in behind or not before:
        yield error(
            conflist.at(linen),
            "linen stands before the plugin that makes the Linux bridge",
            cause="the runtime executes `plugins` in order, and linen works on `bridge`'s result",
            cure="put `bridge` first",
        )
    elif before[0] in BRIDGELESS:
        yield error(
            conflist.at(linen),
            f"linen stands behind {before[0]}, which makes no Linux bridge",
            cause="the overlay reaches pods through the Linux bridge that they hang on",
            cure="use `bridge`",
        )


def bridge_names(conflist: Conflist) -> Iterator[Finding]:
    """The Linux bridge and the OVS bridge have a name each."""
    places = [place for place, _ in conflist.of_type(BRIDGE)]
    for network in networks_of([conflist]) if places else []:
        if network.linux_bridge == network.options.ovs_bridge:
            yield error(
                conflist.at(f"{places[0]}.bridge"),
                f"{network.linux_bridge} is the name that ovs.ovsBridge gives the OVS bridge, too",
                cause="both are network devices of the node, so the second one cannot be made, and"
                " every ADD fails; ovs.ovsBridge is br0 where it is left out",
                cure="give each a name of its own, such as kbr0 and br0",
            )


def ovs_options(conflist: Conflist) -> Iterator[Finding]:
    """Linen's own options, judged by the code that the plugin runs."""
    for place, entry in conflist.of_type(LINEN):
        faults: list[str] = []
        parsed = options.parse(entry, faults, [])
        for fault in faults:
            where, _, what = fault.partition(": ")
            yield error(
                conflist.at(f"{place}.{where}"),
                what,
                cure="every option is described in the README, under “Options”",
            )
        # Where flaxd names the nodes there is no list of them.
        is_listed = parsed.topology != model.TOPOLOGY_FLOW and not is_managed(conflist.document)
        if not faults and not parsed.vteps and is_listed:
            yield note(
                conflist.at(f"{place}.ovs.vtepIPs"),
                "no other node is named, so no tunnel will be made",
                cure="list the VTEP addresses of the other nodes",
            )


def legacy_options(conflist: Conflist) -> Iterator[Finding]:
    """The options at the place that the original of 2017 had for them."""
    for place, entry in conflist.of_type(LINEN):
        runtime = entry.get("runtimeConfig")
        if not isinstance(runtime, dict) or "ovs" not in runtime:
            continue
        where = conflist.at(f"{place}.runtimeConfig.ovs")
        cure = "move the block to `ovs`, beside `type`"
        asked = entry.get("capabilities")
        asked = sorted(key for key, on in asked.items() if on) if isinstance(asked, dict) else []
        if "ovs" in entry:
            yield warning(
                where,
                "`ovs` is there too, so this block is ignored",
                cure="remove runtimeConfig.ovs",
            )
        elif asked:
            yield error(
                where,
                f"the options vanish for each pod that uses {' or '.join(asked)}",
                cause="a runtime that passes a capability replaces all of `runtimeConfig`",
                cure=cure,
            )
        else:
            yield warning(
                where,
                "this is the old place of Linen's options",
                cause="a runtime replaces all of `runtimeConfig` once `capabilities` are added"
                " here; then the options are gone",
                cure=cure,
            )


def default_route_twice(conflist: Conflist) -> Iterator[Finding]:
    """The default route is set once: the bridge plugin refuses to add it a second time."""
    for place, entry in conflist.of_type(BRIDGE):
        ipam = entry.get("ipam")
        routes = ipam.get("routes") if isinstance(ipam, dict) else None
        if not entry.get("isDefaultGateway") or not isinstance(routes, list):
            continue
        for index, route in enumerate(routes):
            target = route.get("dst") if isinstance(route, dict) else None
            family = DEFAULT_ROUTES.get(str(target))
            if family:
                yield error(
                    conflist.at(f"{place}.ipam.routes[{index}]"),
                    f"the {family} default route is given twice, so every ADD fails with"
                    " “file exists”",
                    cause="`isDefaultGateway` sets it already; the plugins of 2017 skipped"
                    " the second one, today's refuse it",
                    cure=f"remove the route to {target} from `routes`, or"
                    " set `isDefaultGateway` to false",
                )


def pod_mtu(conflist: Conflist) -> Iterator[Finding]:
    """The bridge plugin is told an MTU that leaves room for VXLAN."""
    for place, entry in conflist.of_type(BRIDGE):
        mtu = entry.get("mtu")
        if not mtu:
            yield warning(
                conflist.at(f"{place}.mtu"),
                "no MTU is set, so pods send packets of 1500 bytes",
                cause="VXLAN adds 50 bytes (70 over IPv6); what is larger than the underlay's MTU"
                " is cut up or lost, often only large answers of some services",
                cure="set mtu to the underlay's less 50, for example 1450 or 1400",
            )
        elif not isinstance(mtu, int) or isinstance(mtu, bool) or mtu < addresses.SMALLEST_MTU:
            yield error(
                conflist.at(f"{place}.mtu"),
                f"must be a number of bytes, {addresses.SMALLEST_MTU} or more, is"
                f" {options.kind(mtu)}",
                cure="1450 on an underlay of 1500",
            )
        elif mtu < addresses.IPV6_MTU and _has_ipv6(entry):
            yield error(
                conflist.at(f"{place}.mtu"),
                f"is {mtu}, and IPv6 needs {addresses.IPV6_MTU}",
                cause="the kernel has no IPv6 on a device with less (RFC 8200), so every ADD fails",
                cure=f"set mtu to {addresses.IPV6_MTU} or more, on an underlay that carries"
                f" {addresses.IPV6_MTU + addresses.OVERHEAD_IPV4}, or"
                f" {addresses.IPV6_MTU + addresses.OVERHEAD_IPV6} over IPv6",
            )


def _has_ipv6(entry: dict[str, Any]) -> bool:
    return any(pods.subnet.version == 6 for pods in parse_ranges(entry, "")[0])


def flood_limit(conflist: Conflist) -> Iterator[Finding]:
    """Open vSwitch can send a broadcast into every tunnel."""
    for network in networks_of([conflist]):
        vteps = network.options.vteps
        limit = cluster.flood_limit(vteps)
        if len(vteps) < cluster.FLOOD_WARNING:
            continue
        judge = error if len(vteps) > limit else warning
        yield judge(
            network.where,
            f"{len(vteps)} tunnels on one OVS bridge, of which {limit} at most work",
            cause="a broadcast is copied into each, and the list of copies may have no more than"
            " 64 kB in Open vSwitch: ARP and neighbour discovery do not reach the rest",
            cure="topology flow, which flaxd keeps, or several networks of fewer nodes each",
        )


CHECKS: tuple[Check[Conflist], ...] = (
    Check("structure", "name, version and list of plugins are as CNI asks", structure),
    Check("repeated-keys", "no key stands twice", repeated_keys),
    Check("chain-order", "linen stands once, behind the Linux bridge's plugin", chain),
    Check("bridge-names", "Linux bridge and OVS bridge have a name each", bridge_names),
    Check("ovs-options", "Linen's options are known and right", ovs_options),
    Check("legacy-options", "Linen's options stand under `ovs`", legacy_options),
    Check("default-route-twice", "the default route is set once", default_route_twice),
    Check("pod-mtu", "the pods' MTU is set", pod_mtu),
    Check("flood-limit", "a broadcast can be sent into every tunnel", flood_limit),
)
