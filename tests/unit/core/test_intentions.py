# SPDX-License-Identifier: Apache-2.0
"""A plan in words: a sentence for every kind of step, that names all that changes."""

from __future__ import annotations

import pytest

from linen.core import model, plan
from linen.core.intentions import intentions

TUNNEL = model.TunnelSpec(
    "net",
    {"remote_ip": "10.0.0.2", "key": "7"},
    protected=True,
)
INTERFACE = model.ObservedInterface(
    uuid="i", type="vxlan", options={"remote_ip": "10.0.0.9"}, ofport=3, error=""
)
OBSERVED = model.ObservedTunnel(
    uuid="p", name="vxif10_0_0_9", bridge="br0", protected=False, interface=INTERFACE
)
UNMARKED = model.ObservedTunnel(
    uuid="p", name="vxif10_0_0_9", bridge="br0", protected=False, interface=None
)
CONTROLLER = model.ObservedController(uuid="c", target="tcp:10.0.0.1:6653", owned=True)
BRIDGE = model.ObservedBridge(
    uuid="b",
    network="net",
    vni=None,
    datapath_type="",
    fail_mode="secure",
    stp="off",
    controllers=[],
    interface=None,
)
SPEC = model.OverlaySpec(network="net", maker="plugin", bridge="br0", vni=7, stp="rstp")

STEPS: list[tuple[plan.Step, str]] = [
    (plan.CreateBridge(SPEC), "create OVS bridge br0 (datapath system, vni 7, rstp)"),
    (
        plan.SetBridge(BRIDGE, {"fail_mode": "standalone", "rstp_enable": True}),
        "set fail_mode=standalone, rstp_enable=true on OVS bridge br0",
    ),
    (plan.SetVni(BRIDGE, "7"), "mark OVS bridge br0 with vni 7"),
    (plan.SetVni(BRIDGE, None), "mark OVS bridge br0 with vni none"),
    (plan.SetMtu(INTERFACE, 1400), "set the MTU of device br0 to 1400"),
    (plan.SetMacTableSize(BRIDGE, 65536), "let OVS bridge br0 remember 65536 MACs"),
    (
        plan.AddTunnel("vxif10_0_0_2", TUNNEL),
        "add tunnel vxif10_0_0_2 to OVS bridge br0 (key=7, remote_ip=10.0.0.2, protected)",
    ),
    (
        plan.ChangeTunnel(OBSERVED, INTERFACE, TUNNEL),
        "change tunnel vxif10_0_0_9 on OVS bridge br0 to key=7, remote_ip=10.0.0.2, protected",
    ),
    (
        plan.RemoveTunnel(OBSERVED),
        "remove tunnel vxif10_0_0_9 to 10.0.0.9 from OVS bridge br0",
    ),
    (plan.RemoveTunnel(UNMARKED), "remove tunnel vxif10_0_0_9 from OVS bridge br0"),
    (
        plan.AddController("tcp:10.0.0.1:6653"),
        "attach controller tcp:10.0.0.1:6653 to OVS bridge br0",
    ),
    (
        plan.RemoveController(CONTROLLER),
        "detach controller tcp:10.0.0.1:6653 from OVS bridge br0",
    ),
]


@pytest.mark.parametrize(("step", "sentence"), STEPS)
def test_sentence(step: plan.Step, sentence: str) -> None:
    """Each step is one order, with bridge, port and values."""
    assert intentions("br0", [step]) == [sentence]


def test_every_kind_of_step_has_one() -> None:
    """No step of the core's plans is without its sentence here."""
    assert {type(step) for step, _ in STEPS} == set(plan.Step.__subclasses__())
