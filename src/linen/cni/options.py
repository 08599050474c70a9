# SPDX-License-Identifier: Apache-2.0
"""The `ovs` block of a configuration: JSON in, `OverlayOptions` out, or every fault at once.

The block's place is the top level of the plugin's configuration.
The original had it under `runtimeConfig`, where it is still accepted, with a warning: libcni
replaces all of `runtimeConfig` as soon as the runtime passes a capability, and then the block is
gone.
JSON null means "not given", as it does to the Go decoder that the original used.
"""

from __future__ import annotations

from linen.cni import request, spelling
from linen.core import addresses, model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from linen.light.json import Json

LARGEST_VNI = (1 << 24) - 1  # RFC 7348, section 5
LARGEST_PORT = (1 << 16) - 1
OPENFLOW_PORT = "6653"  # IANA, service name openflow
SOCKET_PATH_LIMIT = 107  # sockaddr_un.sun_path without its NUL, linux/un.h
LEGACY = "runtimeConfig.ovs"

TOPOLOGIES = (model.TOPOLOGY_STAR, model.TOPOLOGY_MESH, model.TOPOLOGY_FLOW)

# Set by options of their own, or (in_key, out_key) able to undo the isolation that the VNI gives.
RESERVED_TUNNEL_OPTIONS = {
    "remote_ip": "vtepIPs",
    "key": "vni",
    "in_key": "vni",
    "out_key": "vni",
    "dst_port": "dstPort",
}


class Wrong(Exception):
    """What is wrong with one value."""


def parse(conf: dict[str, Json], faults: list[str], warnings: list[str]) -> model.OverlayOptions:
    """The options of a plugin's configuration. Adds to `faults` what is wrong and where."""
    place, block = find_block(conf, faults, warnings)
    fields: dict[str, Any] = {}
    for key, value in block.items():
        if key not in OPTIONS:
            faults.append(f"{place}.{_unknown(key)}")
        elif value is not None:
            field, parse_value = OPTIONS[key]
            try:
                fields[field] = parse_value(value)
            except Wrong as error:
                faults.append(f"{place}.{key}: {error}")
    options = model.OverlayOptions(**{k: v for k, v in fields.items() if v is not None})
    faults += [f"{place}: {fault}" for fault in contradictions(options)]
    return options


def contradictions(options: model.OverlayOptions) -> list[str]:
    """What cannot be together, one sentence each."""
    faults = []
    if options.topology == model.TOPOLOGY_MESH and options.stp != model.STP_OFF:
        faults.append(
            f"topology mesh and stp {options.stp} exclude each other (a mesh's protected"
            " tunnels have no loops, and a port that the protocol blocks would stay cut off):"
            " leave out one of them"
        )
    if options.topology != model.TOPOLOGY_FLOW:
        return faults
    if options.vteps:
        faults.append(
            "topology flow and vtepIPs exclude each other (its rules have to be kept, so it needs"
            " flaxd, which knows the nodes): leave out vtepIPs, or let topology be mesh"
        )
    if options.controllers:
        faults.append(
            "topology flow and controller exclude each other (the rules of the OVS bridge are"
            " Linen's then): leave out controller, or let topology be star"
        )
    if options.stp != model.STP_OFF:
        faults.append(
            f"topology flow and stp {options.stp} exclude each other (flow has no loops): leave"
            " out stp"
        )
    return faults


def find_block(
    conf: dict[str, Json], faults: list[str], warnings: list[str]
) -> tuple[str, dict[str, Json]]:
    """Where a plugin's configuration has its options, and the object with them.

    That is empty where there are none, or what is there is none: then it adds to `faults`.
    """
    runtime = conf.get("runtimeConfig")
    legacy = runtime.get("ovs") if isinstance(runtime, dict) else None
    block, place = conf.get("ovs"), "ovs"
    if legacy is not None:
        warnings.append(
            f"{LEGACY} is the old place of these options: move them to `ovs`, beside `type`"
        )
        if block is None:
            block, place = legacy, LEGACY
        elif block != legacy:
            warnings.append(f"{LEGACY} differs from `ovs` and is ignored")
    if block is None:
        block = {}
    if not isinstance(block, dict):
        faults.append(f"{place}: must be an object, is {kind(block)}")
        block = {}
    return place, block


def kind(value: Json) -> str:
    """What a JSON value is, in words and in brief."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…" + shown[-1:]


def _unknown(key: str) -> str:
    close = spelling.nearest(key, OPTIONS)
    hint = f"did you mean {close}?" if close else f"known are {', '.join(OPTIONS)}"
    return f"{kind(key)[1:-1]}: unknown option; {hint}"


def _boolean(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    raise Wrong(f"must be true or false, is {kind(value)}")


def _whole(smallest: int, largest: int) -> Callable[[Json], int]:
    def parse_whole(value: Json) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest:
            return value
        raise Wrong(f"must be a whole number from {smallest} to {largest}, is {kind(value)}")

    return parse_whole


def _one_of(*allowed: str) -> Callable[[Json], str]:
    def parse_choice(value: Json) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise Wrong(f"must be one of {', '.join(allowed)}, is {kind(value)}")

    return parse_choice


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise Wrong(f"must be a string, is {kind(value)}")


def _bridge(value: Json) -> str | None:
    """An OVS bridge's name; "" means the default, as in the original."""
    name = _text(value)
    if name and (fault := request.interface_name_fault(name)):
        raise Wrong(f"{kind(name)} is no name for a bridge: it {fault}")
    return name or None


def _vteps(value: Json) -> list[str]:
    if not isinstance(value, list):
        raise Wrong(f"must be a list of IP addresses, is {kind(value)}")
    vteps: dict[str, None] = {}  # a set that keeps its order
    wrong = []
    for index, item in enumerate(value):
        try:
            vteps[addresses.parse_vtep(item if isinstance(item, str) else "")] = None
        except ValueError as error:
            wrong.append(f"[{index}] {kind(item)} {error}")
    if wrong:
        raise Wrong("; ".join(wrong))
    return list(vteps)


def _controllers(value: Json) -> list[str]:
    """Targets as OVSDB writes them (ovs-vswitchd.conf.db(5), "Controller.target").

    "" means none, as in the original.
    """
    items = value if isinstance(value, list) else [value]
    targets: list[str] = []
    for item in items:
        target = _controller(item)
        if target and target not in targets:
            targets.append(target)
    return targets


def _controller(value: Json) -> str:
    target = _text(value)
    if not target:
        return ""
    protocol, _, address = target.partition(":")
    if protocol not in ("tcp", "ssl"):
        protocol, address = "tcp", target
    host, port = _host_and_port(address)
    if (
        not host
        or not (port.isascii() and port.isdecimal())
        or not 0 < int(port[:6]) <= LARGEST_PORT
    ):
        raise Wrong(
            f"{kind(target)} is no controller: it must be HOST:PORT, tcp:HOST:PORT or"
            " ssl:HOST:PORT, with an IPv6 address in [brackets]"
        )
    return f"{protocol}:{host}:{port}"


def _host_and_port(address: str) -> tuple[str, str]:
    """Both parts: OpenFlow's port where there is none, an empty host where it cannot be one."""
    if address.startswith("["):
        host, bracket, rest = address.partition("]")
        host, port = host + bracket, rest[1:] if rest.startswith(":") else ""
        is_host = bracket and ":" in host and _is_address(host[1:-1])
        return (host if is_host else ""), (port if rest else OPENFLOW_PORT)
    host, colon, port = address.partition(":")
    is_host = not set(host) - set("-._") - request.ALPHANUMERIC
    return (host if is_host else ""), (port if colon else OPENFLOW_PORT)


def _is_address(text: str) -> bool:
    try:
        addresses.parse_vtep(text)
    except ValueError:
        return False
    return True


def _datapath(value: Json) -> str:
    chosen = _one_of("system", "netdev")(value)
    return "" if chosen == "system" else chosen


def _tunnel_options(value: Json) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Wrong(f"must be an object of OVS tunnel options, is {kind(value)}")
    wrong = []
    options: dict[str, str] = {}
    for key, item in value.items():
        if not key.isprintable():
            wrong.append(f"{kind(key)} is no option's name")
        elif key in RESERVED_TUNNEL_OPTIONS:
            wrong.append(f"{key} is set by ovs.{RESERVED_TUNNEL_OPTIONS[key]}")
        elif isinstance(item, bool):
            options[key] = "true" if item else "false"
        elif isinstance(item, int) or (isinstance(item, str) and item.isprintable()):
            options[key] = str(item)
        else:
            wrong.append(f"{key} must be a text, a number, true or false, is {kind(item)}")
    if wrong:
        raise Wrong("; ".join(wrong))
    return options


def _socket_path(value: Json) -> str:
    text = _text(value)
    path = text.removeprefix("unix:")
    if path == text or not path.startswith("/") or not path.isprintable():
        raise Wrong(f"must be unix:/PATH of OVSDB's socket, is {kind(value)}")
    if len(path.encode("utf-8", "replace")) > SOCKET_PATH_LIMIT:
        raise Wrong(
            f"the path of a unix socket has at most {SOCKET_PATH_LIMIT} bytes: {kind(path)}"
        )
    return path


# key in the configuration → field of OverlayOptions, and what parses the value
OPTIONS: dict[str, tuple[str, Callable[[Json], Any]]] = {
    "isMaster": ("is_master", _boolean),
    "ovsBridge": ("ovs_bridge", _bridge),
    "vtepIPs": ("vteps", _vteps),
    "controller": ("controllers", _controllers),
    "vni": ("vni", _whole(1, LARGEST_VNI)),
    "dstPort": ("dst_port", _whole(1, LARGEST_PORT)),
    "datapathType": ("datapath_type", _datapath),
    "stp": ("stp", _one_of(model.STP_OFF, model.STP_CLASSIC, model.STP_RAPID)),
    "topology": ("topology", _one_of(*TOPOLOGIES)),
    "tunnelOptions": ("tunnel_options", _tunnel_options),
    "ovsdb": ("ovsdb", _socket_path),
}
