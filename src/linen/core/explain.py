# SPDX-License-Identifier: Apache-2.0
"""A plan in words, for people: what is wrong now, one sentence a step.

A setting that an earlier version did not know is no fault: pods that it attached pass CHECK.
"""

from __future__ import annotations

from linen.core import model, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def faults(bridge: str, steps: Sequence[plan.Step]) -> list[str]:
    """What each step of a plan for the OVS bridge `bridge` would mend."""
    faulty = (step for step in steps if not isinstance(step, plan.SetMacTableSize))
    return [_SENTENCES[type(step)](bridge, step) for step in faulty]


def where(remote: str | None) -> str:
    """Where a tunnel with this `remote_ip` leads."""
    return "all nodes" if remote == model.REMOTE_BY_RULE else remote or "nowhere"


def _options(options: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}={options[key]}" for key in sorted(options)) + "}"


def _no_bridge(bridge: str, _step: plan.CreateBridge) -> str:
    return f"OVS bridge {bridge} is missing"


def _bridge_settings(bridge: str, step: plan.SetBridge) -> str:
    wanted = ", ".join(f"{column}={_plain(value)}" for column, value in step.settings.items())
    seen = f"fail_mode={step.bridge.fail_mode or 'unset'}, spanning tree {step.bridge.stp}"
    return f"OVS bridge {bridge} has {seen} instead of {wanted}"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bridge_vni(bridge: str, step: plan.SetVni) -> str:
    return f"OVS bridge {bridge} is marked with vni {step.bridge.vni} instead of {step.vni}"


def _mtu(bridge: str, step: plan.SetMtu) -> str:
    asked = step.interface.mtu_request or "no"
    return f"OVS bridge {bridge} asks for {asked} MTU where the Linux bridge has {step.mtu}"


def _no_tunnel(bridge: str, step: plan.AddTunnel) -> str:
    return (
        f"the tunnel to {where(step.tunnel.remote)} (port {step.name}) is missing on OVS bridge"
        f" {bridge}"
    )


def _other_tunnel(bridge: str, step: plan.ChangeTunnel) -> str:
    seen, wanted = step.interface.options, step.tunnel.options
    differences = []
    if seen != wanted:
        differences.append(f"options {_options(seen)} instead of {_options(wanted)}")
    if step.tunnel.bfd not in (None, step.interface.bfd):
        differences.append(
            f"bfd {_options(step.interface.bfd)} instead of {_options(step.tunnel.bfd or {})}"
        )
    if step.observed.protected != step.tunnel.protected:
        was, right = _plain(step.observed.protected), _plain(step.tunnel.protected)
        differences.append(f"protected={was} instead of {right}")
    return f"tunnel {step.observed.name} on OVS bridge {bridge} has {' and '.join(differences)}"


def _extra_tunnel(_bridge: str, step: plan.RemoveTunnel) -> str:
    interface = step.observed.interface
    if interface is None:
        return f"tunnel {step.observed.name} has lost the marks of its Interface row"
    remote = where(interface.options.get("remote_ip"))
    return f"tunnel {step.observed.name} to {remote} is ours and not wanted (any more)"


def _no_controller(bridge: str, step: plan.AddController) -> str:
    return f"controller {step.target} is not attached to OVS bridge {bridge}"


def _extra_controller(bridge: str, step: plan.RemoveController) -> str:
    target = step.controller.target
    return f"controller {target} on OVS bridge {bridge} is ours and not wanted (any more)"


_SENTENCES: dict[type, Callable[[str, Any], str]] = {
    plan.CreateBridge: _no_bridge,
    plan.SetBridge: _bridge_settings,
    plan.SetVni: _bridge_vni,
    plan.SetMtu: _mtu,
    plan.AddTunnel: _no_tunnel,
    plan.ChangeTunnel: _other_tunnel,
    plan.RemoveTunnel: _extra_tunnel,
    plan.AddController: _no_controller,
    plan.RemoveController: _extra_controller,
}
