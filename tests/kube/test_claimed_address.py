# SPDX-License-Identifier: Apache-2.0
"""A Node that is left over from a machine that is gone, whose address another one has by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.host import wait_until

if TYPE_CHECKING:
    from support.kubernetes_nodes import KubernetesNode

GONE = {"linen-cni/vtep": "10.245.0.1", "linen-cni/version": "1"}  # node1's address


def test_the_first_by_name_has_it(node1: KubernetesNode) -> None:
    """The node that others send no packets to gets no pods, and tells which Node to delete.

    It works as soon as that is deleted.
    """
    node1.plane.add_node("gone", annotations=GONE)
    with node1.flaxd() as daemon:
        daemon.wait_for("delete Node gone")

        # There is one before, of a node that is new.
        wait_until(lambda: "delete Node gone" in node1.condition().get("message", ""), "its reason")
        assert node1.condition()["status"] == "True"
        status, reasons = daemon.get("/readyz")
        assert status == 503
        assert "node gone has this node's tunnel address 10.245.0.1" in reasons
        assert not node1.settings["conflist"].exists()

        node1.plane.delete_node("gone")
        daemon.wait_for("the overlay works")
        assert node1.settings["conflist"].exists()


def test_a_later_one_costs_nothing(node1: KubernetesNode) -> None:
    """A Node that comes after this one by name takes nothing from it, and is told as wrong."""
    node1.plane.add_node("taker", annotations=GONE)
    with node1.flaxd() as daemon:
        daemon.wait_for("node taker has the VTEP address 10.245.0.1 of node node1")
        daemon.wait_for("the overlay works")
        assert node1.settings["conflist"].exists()
