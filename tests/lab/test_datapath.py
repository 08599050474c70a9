# SPDX-License-Identifier: Apache-2.0
"""A lab on the kernel's datapath, where the kernel has yet to load it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.host import wait_until

MODULE = Path("/sys/module/openvswitch")

pytestmark = [pytest.mark.datapath, pytest.mark.uml]


def is_unloaded() -> bool:
    """Remove the datapath's modules; whether they are gone.

    The kernel holds them for a moment after the last bridge's namespace has ended.
    """
    subprocess.run(["modprobe", "--remove", "vport-vxlan", "openvswitch"], check=False)
    return not MODULE.exists()


def test_system_has_the_module_loaded(lab_name: str) -> None:
    """With `system` the kernel has its module in the end, and switches packets by it."""
    wait_until(is_unloaded, "the module to go")

    with Lab.started(describe(1, name=lab_name, datapath="system")) as lab:
        lab.add_pod("node1", "pod")
        shown = lab.node("node1").run(["ovs-appctl", "dpctl/show"]).stdout

    assert MODULE.exists()
    assert shown.startswith("system@ovs-system:")
