# SPDX-License-Identifier: Apache-2.0
"""The OVS bridge's place: which is right, who may change it, and both in words."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from linen.core import errors, place


@dataclass
class Device:
    """A network device."""

    index: int
    name: str
    master: int = 0
    up: bool = True
    kind: str = ""


@dataclass
class OvsBridge:
    """A row of OVSDB's table Bridge."""

    network: str | None


KBR0 = Device(7, "kbr0")
OTHER0 = Device(8, "other0")


def br0(master: int, *, up: bool = True) -> Device:
    """The OVS bridge's device."""
    return Device(9, "br0", master, up)


@pytest.mark.parametrize(
    ("port", "is_right"),
    [
        (br0(KBR0.index), True),
        (br0(KBR0.index, up=False), False),
        (br0(0), False),
        (br0(OTHER0.index), False),
    ],
)
def test_right(port: Device, *, is_right: bool) -> None:
    """Nothing is left to do, and no fault is there, where the device is on its bridge, and up."""
    assert place.is_right(port, KBR0) == is_right
    assert (place.faults(port, KBR0, None) == []) == is_right


@pytest.mark.parametrize("linux_bridge", [KBR0, None], ids=["kbr0", "no kbr0 yet"])
@pytest.mark.parametrize(
    ("ovs_bridge", "is_held"),
    [
        (OvsBridge("blue"), False),
        (OvsBridge(None), True),
        (OvsBridge("red"), True),
        (None, False),  # what is to be made is ours
    ],
)
def test_another_linux_bridge_holds_what_is_not_ours(
    ovs_bridge: OvsBridge | None, linux_bridge: Device | None, *, is_held: bool
) -> None:
    """Only the network's own OVS bridge is taken off another Linux bridge."""
    assert place.is_held(br0(OTHER0.index), linux_bridge, ovs_bridge, "blue") == is_held


@pytest.mark.parametrize("network", ["blue", "red", None])
@pytest.mark.parametrize("master", [0, KBR0.index])
def test_nothing_else_holds(master: int, network: str | None) -> None:
    """Anybody's OVS bridge may be hung where it hangs on none, and be set up where it is right."""
    port = br0(master, up=False)
    assert not place.is_held(port, KBR0, OvsBridge(network), "blue")


@pytest.mark.parametrize(("holder", "named"), [(OTHER0, "other0"), (None, "another bridge")])
def test_what_holds_is_named_with_the_cure(holder: Device | None, named: str) -> None:
    """The error has code 102 and names both cures."""
    error = place.held(br0(OTHER0.index), holder, "blue")

    assert error.code == 102
    assert error.message == f"OVS bridge br0 hangs on {named} and is not of network 'blue'"
    assert "ovs.ovsBridge" in error.details
    assert "`ip link set br0 nomaster`" in error.details


@pytest.mark.parametrize(
    ("port", "holder", "faults"),
    [
        (br0(OTHER0.index), OTHER0, ["device br0 hangs on other0 instead of kbr0"]),
        (br0(0), None, ["device br0 hangs on no Linux bridge instead of kbr0"]),
        (br0(KBR0.index, up=False), KBR0, ["device br0 is down"]),
        (
            br0(0, up=False),
            None,
            ["device br0 hangs on no Linux bridge instead of kbr0", "device br0 is down"],
        ),
    ],
)
def test_faults(port: Device, holder: Device | None, faults: list[str]) -> None:
    """Each difference from the right place is a sentence, with what is there and what is right."""
    assert place.faults(port, KBR0, holder) == faults


@pytest.mark.parametrize("kind", ["openvswitch", "tun", None])
def test_devices_of_open_vswitch(kind: str | None) -> None:
    """A device that Open vSwitch makes, in the kernel or in userspace, and none, is no conflict."""
    device = None if kind is None else Device(9, "br0", kind=kind)

    place.refuse_foreign(device)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("bridge", "br0 is a Linux bridge, and"),
        ("veth", "br0 is a network device that is none of Open vSwitch's, and"),
        ("", "br0 is a network device that is none of Open vSwitch's, and"),  # as a network card
    ],
)
def test_foreign_device(kind: str, seen: str) -> None:
    """Any other device with the OVS bridge's name is code 102, with the cure for both programs."""
    with pytest.raises(errors.Conflict) as refused:
        place.refuse_foreign(Device(9, "br0", kind=kind))

    assert refused.value.code == 102
    assert refused.value.message == f"{seen} ovs.ovsBridge is br0, too"
    assert "choose another for ovs.ovsBridge (flaxd's ovs-bridge)" in refused.value.details
    assert ("bridge plugin" in refused.value.details) == (kind == "bridge")
