# SPDX-License-Identifier: Apache-2.0
"""The daemon's settings: one table, four places to set them, every fault in one answer.

A setting is taken from the command line (`--vtep-ip`), else from the environment
(`LINEN_VTEP_IP`), else from the YAML file that `--config` names (`vtep-ip`), else it has a
default. What plugin and daemon have to agree on (the OVS bridge, the VNI…) is parsed by the
plugin's own parsers, and an administrator's conflist that says otherwise is a fault.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from linen.cni import options
from linen.cni.spelling import nearest
from linen.core import addresses, model
from linen.settings.parsers import (
    Invalid,
    choice_parser,
    number_parser,
    parse_account,
    parse_interface,
    parse_listen,
    parse_mtu,
    parse_network,
    parse_node,
    parse_path,
    parse_ranges,
    parse_vtep,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from linen.kube.account import AccountName
    from linen.light.json import Json

ENVIRONMENT_PREFIX = "LINEN_"
DROP, REPLICATE = "drop", "replicate"
GATEWAY_DEFAULT, GATEWAY_NONE = "default", "none"


class SettingsInvalid(Invalid):
    """Settings are wrong."""


@dataclass(frozen=True)
class Setting:
    """One setting: how what YAML made of a text is parsed, its default, its help."""

    parse: Callable[[Json], Json]
    default: Json
    help: str


@dataclass(frozen=True)
class Settings:
    """All settings, checked.

    `peers`: the file with the cluster's nodes, or None for Kubernetes.
    `overlay`: what plugin and daemon agree on; its `vteps` are empty, for the daemon finds them.
    `given`: the names of those settings that a conflist has as well, and that somebody set.
    `gateway`: whether this node is its pods' way out, or has no address in the network at all.
    `service_account`: whose deletion takes Linen off this node, None for nobody's.
    `listen`: host and port of the HTTP server. `bfd_interval`: milliseconds, 0 for no BFD.
    `probe_interval`: seconds, 0 for no probe.
    """

    node: str
    peers: Path | None
    kubeconfig: Path | None
    service_account: AccountName | None
    conflist: Path
    bin_dir: Path
    state_dir: Path
    network: str
    linux_bridge: str
    cluster_range: tuple[str, ...]
    gateway: str
    mtu: int | None
    vtep_ip: str | None
    vtep_interface: str | None
    vtep_family: str | None
    broadcast: str
    bfd_interval: int
    probe_interval: float
    listen: tuple[str, int]
    log_level: str
    log_format: str
    overlay: model.OverlayOptions
    given: frozenset[str] = field(default_factory=frozenset)


# What the plugin's parsers check, by the daemon's name and the plugin's.
OVERLAY_KEYS = {
    "ovs-bridge": "ovsBridge",
    "controller": "controller",
    "vni": "vni",
    "dst-port": "dstPort",
    "datapath-type": "datapathType",
    "stp": "stp",
    "topology": "topology",
    "tunnel-options": "tunnelOptions",
    "ovsdb": "ovsdb",
}

# What a conflist says besides, by the daemon's name and the conflist's.
NETWORK_KEYS = {"network": "name", "linux-bridge": "bridge"}

# Settings that are no texts.
YAML_VALUES = frozenset(
    {
        "mtu",
        "bfd-interval",
        "probe-interval",
        "vni",
        "dst-port",
        "tunnel-options",
    }
)

_HELP = {
    "ovs-bridge": "The OVS bridge [br0].",
    "controller": "OpenFlow controller of the OVS bridge, HOST:PORT, or a YAML list of them.",
    "vni": "The network's VXLAN id [none].",
    "dst-port": "UDP port of VXLAN [4789].",
    "datapath-type": "system or netdev [that of an existing bridge, else system].",
    "stp": "off, stp or rstp [off].",
    "topology": "mesh, star or flow [mesh].",
    "tunnel-options": "Further OVS tunnel options, a YAML mapping.",
    "ovsdb": "OVSDB's socket [unix:/var/run/openvswitch/db.sock].",
}

SETTINGS: dict[str, Setting] = {
    "node": Setting(parse_node, None, "This node's name [the host's name]."),
    "peers": Setting(parse_path, None, "File with the cluster's nodes, instead of Kubernetes."),
    "kubeconfig": Setting(parse_path, None, "Kubernetes client configuration [in-cluster]."),
    "service-account": Setting(
        parse_account, None, "NAMESPACE/NAME; when it is deleted, Linen goes from this node [none]."
    ),
    "conflist": Setting(
        parse_path, Path("/etc/cni/net.d/linen.conflist"), "The network's conflist."
    ),
    "bin-dir": Setting(parse_path, Path("/opt/cni/bin"), "Where the CNI plugins are."),
    "state-dir": Setting(
        parse_path, Path("/var/lib/linen"), "Where the last known peers are kept."
    ),
    "network": Setting(parse_network, "linen-network", "The network's name."),
    "linux-bridge": Setting(parse_interface, "kbr0", "The Linux bridge that pods hang on."),
    "cluster-range": Setting(
        parse_ranges, ("10.244.0.0/16",), "All pods' addresses: a CIDR, or two with a comma."
    ),
    "gateway": Setting(
        choice_parser(GATEWAY_DEFAULT, GATEWAY_NONE),
        GATEWAY_DEFAULT,
        "default: the node is its pods' way out; none: they reach one another alone.",
    ),
    "mtu": Setting(
        parse_mtu, None, "Bytes of a pod's packet [the underlay's less what VXLAN adds]."
    ),
    "vtep-ip": Setting(parse_vtep, None, "This node's tunnel address [its InternalIP]."),
    "vtep-interface": Setting(parse_interface, None, "The device that has it; instead of vtep-ip."),
    "vtep-family": Setting(
        choice_parser("ipv4", "ipv6"), None, "ipv4 or ipv6, for tunnels [IPv4 where there is one]."
    ),
    "broadcast": Setting(
        choice_parser(DROP, REPLICATE), DROP, "In topology flow: drop or replicate packets to many."
    ),
    "bfd-interval": Setting(
        number_parser(50, 60_000, "ms"), 1000, "ms between BFD packets; 0: no BFD."
    ),
    "probe-interval": Setting(
        number_parser(1, 3600, "s"), 10, "Seconds between probes; 0: no probes."
    ),
    "listen": Setting(parse_listen, ("127.0.0.1", 9474), "Where health and metrics are served."),
    "log-level": Setting(
        choice_parser("debug", "info", "warning", "error"), "info", "debug, info, warning or error."
    ),
    "log-format": Setting(choice_parser("text", "json"), "text", "text or json."),
} | {
    name: Setting(options.OPTIONS[key][1], None, _HELP[name]) for name, key in OVERLAY_KEYS.items()
}


def load(
    arguments: Mapping[str, str], environment: Mapping[str, str], config: Path | None
) -> Settings:
    """The settings from all places. Raises `SettingsInvalid` with every fault."""
    faults: list[str] = []
    values = _from_file(config, faults)
    faults += _unknown_variables(environment)
    for name in SETTINGS:
        variable = variable_of(name)
        if environment.get(variable):  # an empty one counts as not set, as a ConfigMap has it
            values[name] = (variable, _value(name, environment[variable]))
        if name in arguments:
            values[name] = (f"--{name}", _value(name, arguments[name]))
    parsed = _parsed(values, faults)
    settings = _assembled(parsed)
    faults += _contradictions(settings)
    if faults:
        raise SettingsInvalid(faults)
    return settings


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper().replace("-", "_")


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A fault for each variable that begins as ours and is no setting, which would do nothing."""
    names = {variable_of(name): name for name in SETTINGS}
    faults = []
    for variable in environment:
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in names:
            close = nearest(variable.removeprefix(ENVIRONMENT_PREFIX).replace("_", "-"), SETTINGS)
            hint = _hint(close and variable_of(close), names)
            faults.append(f"{variable}: unknown setting; {hint}")
    return faults


def _hint(close: str | None, known: Iterable[str]) -> str:
    return f"did you mean {close}?" if close else f"known are {', '.join(known)}"


def _value(name: str, text: str) -> Json:
    """A setting's text as the value that it stands for.

    Most are texts, also `off`, `1` or `10:20`, of which YAML would make something else.
    """
    if name not in YAML_VALUES and not text.startswith("["):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _from_file(path: Path | None, faults: list[str]) -> dict[str, tuple[str, Json]]:
    if path is None:
        return {}
    try:
        # All scalars as texts, so that a value means the same here and on the command line.
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        faults.append(f"--config {path} cannot be read: {error}")
        return {}
    if not isinstance(document, dict | None):
        faults.append(f"{path}: must be a mapping of settings, is {options.kind(document)}")
        return {}
    values: dict[str, tuple[str, Json]] = {}
    for name, value in (document or {}).items():
        if name in SETTINGS:
            is_text = isinstance(value, str)
            values[name] = (f"{path}: {name}", _value(name, value) if is_text else value)
        else:
            hint = _hint(nearest(str(name), SETTINGS), SETTINGS)
            faults.append(f"{path}: {name}: unknown setting; {hint}")
    return values


def _parsed(values: Mapping[str, tuple[str, Json]], faults: list[str]) -> dict[str, Json]:
    parsed = {}
    for name, (place, value) in values.items():
        if value is None:
            continue
        try:
            parsed[name] = SETTINGS[name].parse(value)
        except options.Wrong as error:
            faults.append(f"{place}: {error}")
    return parsed


def _assembled(parsed: Mapping[str, Json]) -> Settings:
    overlay = {
        options.OPTIONS[key][0]: parsed[name]
        for name, key in OVERLAY_KEYS.items()
        if parsed.get(name) is not None
    }
    overlay.setdefault("topology", model.TOPOLOGY_MESH)
    own = {
        name.replace("-", "_"): parsed.get(name, setting.default)
        for name, setting in SETTINGS.items()
        if name not in OVERLAY_KEYS
    }
    own["node"] = own["node"] or socket.gethostname().lower()
    if own["gateway"] == GATEWAY_NONE:  # probes go from gateway to gateway
        own["probe_interval"] = parsed.get("probe-interval", 0)
    return Settings(
        overlay=model.OverlayOptions(**overlay),
        given=frozenset(parsed.keys() & (OVERLAY_KEYS | NETWORK_KEYS).keys()),
        **own,
    )


def _contradictions(settings: Settings) -> list[str]:
    faults = []
    overlay = settings.overlay
    faults += options.contradictions(overlay)
    if settings.broadcast != DROP and overlay.topology != model.TOPOLOGY_FLOW:
        faults.append(
            f"broadcast {settings.broadcast} is for topology flow, {overlay.topology} delivers"
            " broadcasts anyway: leave it out"
        )
    if settings.gateway == GATEWAY_NONE and settings.probe_interval:
        faults.append("probe-interval needs gateways to ping, and gateway is none: let it be 0")
    if settings.linux_bridge == overlay.ovs_bridge:
        faults.append(f"linux-bridge and ovs-bridge are both {overlay.ovs_bridge}: change one")
    if settings.peers is not None and settings.kubeconfig is not None:
        faults.append("peers and kubeconfig exclude each other: the nodes come from one place")
    if settings.vtep_ip is not None and settings.vtep_interface is not None:
        faults.append("vtep-ip and vtep-interface exclude each other: leave out one")
    if settings.vtep_ip is not None and settings.vtep_family is not None:
        faults.append("vtep-ip and vtep-family exclude each other: leave out one")
    versions = [ipaddress.ip_network(cidr).version for cidr in settings.cluster_range]
    if len(versions) != len(set(versions)) or not versions:
        faults.append("cluster-range: must be one IPv4 range, one IPv6 range, or one of each")
    if settings.mtu is not None and settings.mtu < addresses.IPV6_MTU and 6 in versions:
        faults.append(f"mtu {settings.mtu} is too small for IPv6, which needs {addresses.IPV6_MTU}")
    return faults


def log_level(settings: Settings) -> int:
    """The level as `logging` counts it."""
    return logging.getLevelNamesMapping()[settings.log_level.upper()]
