# SPDX-License-Identifier: Apache-2.0
"""A plan in words: what the next ADD would do, one sentence a step.

`linen.core.explain` words the same steps as faults; a plan is read as orders.
"""

from __future__ import annotations

from linen.core import explain, model, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def intentions(bridge: str, steps: Sequence[plan.Step]) -> list[str]:
    """What each step of a plan for the OVS bridge `bridge` does."""
    return [_SENTENCES[type(step)](bridge, step) for step in steps]


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in settings.items()
    )


def _tunnel(tunnel: model.TunnelSpec) -> str:
    options = _settings({key: tunnel.options[key] for key in sorted(tunnel.options)})
    return f"{options}{', protected' if tunnel.protected else ''}"


def _create_bridge(bridge: str, step: plan.CreateBridge) -> str:
    spec = step.spec
    vni = f", vni {spec.vni}" if spec.vni is not None else ""
    tree = f", {spec.stp}" if spec.stp != model.STP_OFF else ""
    return f"create OVS bridge {bridge} (datapath {spec.datapath_type or 'system'}{vni}{tree})"


def _set_bridge(bridge: str, step: plan.SetBridge) -> str:
    return f"set {_settings(step.settings)} on OVS bridge {bridge}"


def _set_vni(bridge: str, step: plan.SetVni) -> str:
    return f"mark OVS bridge {bridge} with vni {step.vni or 'none'}"


def _set_mtu(bridge: str, step: plan.SetMtu) -> str:
    return f"set the MTU of device {bridge} to {step.mtu}"


def _set_mac_table_size(bridge: str, step: plan.SetMacTableSize) -> str:
    return f"let OVS bridge {bridge} remember {step.size} MACs"


def _add_tunnel(bridge: str, step: plan.AddTunnel) -> str:
    return f"add tunnel {step.name} to OVS bridge {bridge} ({_tunnel(step.tunnel)})"


def _change_tunnel(bridge: str, step: plan.ChangeTunnel) -> str:
    return f"change tunnel {step.observed.name} on OVS bridge {bridge} to {_tunnel(step.tunnel)}"


def _remove_tunnel(bridge: str, step: plan.RemoveTunnel) -> str:
    interface = step.observed.interface
    remote = f" to {explain.where(interface.options.get('remote_ip'))}" if interface else ""
    return f"remove tunnel {step.observed.name}{remote} from OVS bridge {bridge}"


def _add_controller(bridge: str, step: plan.AddController) -> str:
    return f"attach controller {step.target} to OVS bridge {bridge}"


def _remove_controller(bridge: str, step: plan.RemoveController) -> str:
    return f"detach controller {step.controller.target} from OVS bridge {bridge}"


_SENTENCES: dict[type, Callable[[str, Any], str]] = {
    plan.CreateBridge: _create_bridge,
    plan.SetBridge: _set_bridge,
    plan.SetVni: _set_vni,
    plan.SetMtu: _set_mtu,
    plan.SetMacTableSize: _set_mac_table_size,
    plan.AddTunnel: _add_tunnel,
    plan.ChangeTunnel: _change_tunnel,
    plan.RemoveTunnel: _remove_tunnel,
    plan.AddController: _add_controller,
    plan.RemoveController: _remove_controller,
}
