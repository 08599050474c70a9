# SPDX-License-Identifier: Apache-2.0
"""A plan, and the steps that it is made of: each is one change to Open vSwitch, with all it needs.

`linen.core.planner` finds it, `linen.core.transaction` turns them into OVSDB operations,
`linen.core.explain` and `linen.core.intentions` into sentences.
"""

from __future__ import annotations

from linen.core import model
from linen.core.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Step(Value):
    """One change to Open vSwitch."""

    __slots__ = ()


class CreateBridge(Step):
    """Make the OVS bridge and its internal port."""

    __slots__ = ("spec",)

    def __init__(self, spec: model.OverlaySpec) -> None:
        self.spec = spec


class SetBridge(Step):
    """Change settings of our own OVS bridge: column → value."""

    __slots__ = ("bridge", "settings")

    def __init__(self, bridge: model.ObservedBridge, settings: dict[str, str | bool]) -> None:
        self.bridge = bridge
        self.settings = settings


class SetVni(Step):
    """Mark our own OVS bridge with the VNI that its network now has."""

    __slots__ = ("bridge", "vni")

    def __init__(self, bridge: model.ObservedBridge, vni: str | None) -> None:
        self.bridge = bridge
        self.vni = vni


class SetMtu(Step):
    """Ask for another MTU, in bytes, of the OVS bridge's internal port."""

    __slots__ = ("interface", "mtu")

    def __init__(self, interface: model.ObservedInterface, mtu: int) -> None:
        self.interface = interface
        self.mtu = mtu


class SetMacTableSize(Step):
    """Let our own OVS bridge remember more MACs than Open vSwitch's default."""

    __slots__ = ("bridge", "size")

    def __init__(self, bridge: model.ObservedBridge, size: int) -> None:
        self.bridge = bridge
        self.size = size


class AddTunnel(Step):
    """Add a VXLAN port under `name`."""

    __slots__ = ("name", "tunnel")

    def __init__(self, name: str, tunnel: model.TunnelSpec) -> None:
        self.name = name
        self.tunnel = tunnel


class ChangeTunnel(Step):
    """Give a tunnel of ours the options and the protection that it should have."""

    __slots__ = ("interface", "observed", "tunnel")

    def __init__(
        self,
        observed: model.ObservedTunnel,
        interface: model.ObservedInterface,
        tunnel: model.TunnelSpec,
    ) -> None:
        self.observed = observed
        self.interface = interface
        self.tunnel = tunnel


class RemoveTunnel(Step):
    """Remove a tunnel of ours."""

    __slots__ = ("observed",)

    def __init__(self, observed: model.ObservedTunnel) -> None:
        self.observed = observed


class AddController(Step):
    """Attach an OpenFlow controller to the OVS bridge."""

    __slots__ = ("target",)

    def __init__(self, target: str) -> None:
        self.target = target


class RemoveController(Step):
    """Detach a controller of ours."""

    __slots__ = ("controller",)

    def __init__(self, controller: model.ObservedController) -> None:
        self.controller = controller


class Plan(Value):
    """What is wanted of one network, what is there, and the steps from one to the other."""

    __slots__ = ("seen", "spec", "steps")

    def __init__(
        self, spec: model.OverlaySpec, seen: model.Observed, steps: Sequence[Step]
    ) -> None:
        self.spec = spec
        self.seen = seen
        self.steps = steps

    def interfaces(self) -> list[tuple[str, model.ObservedInterface]]:
        """Name and row of each interface of ours, the OVS bridge's internal port first."""
        found = []
        bridge = self.seen.bridge
        if bridge is not None and bridge.interface is not None:
            found.append((self.spec.bridge, bridge.interface))
        found += [(t.name, t.interface) for t in self.seen.tunnels if t.interface is not None]
        return found

    def interfaces_about_to_change(self) -> set[str]:
        """The UUIDs of the tunnels' interfaces that the steps change or remove."""
        kinds = (ChangeTunnel, RemoveTunnel)
        tunnels = [step.observed for step in self.steps if isinstance(step, kinds)]
        return {tunnel.interface.uuid for tunnel in tunnels if tunnel.interface is not None}


def stp_settings(stp: str) -> dict[str, str | bool]:
    """The two columns of Bridge that choose the spanning tree protocol."""
    return {"stp_enable": stp == model.STP_CLASSIC, "rstp_enable": stp == model.STP_RAPID}
