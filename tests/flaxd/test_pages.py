# SPDX-License-Identifier: Apache-2.0
"""What the daemon shows of itself over HTTP."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from support.host import wait_until

if TYPE_CHECKING:
    from support.daemons import Flaxd, Nodes
    from support.host import Host


def test_pages(flaxd: Flaxd) -> None:
    """The daemon shows that it lives, that it is ready, its metrics and its state."""
    assert flaxd.get("/healthz") == (200, "ok\n\n")
    assert flaxd.get("/readyz") == (200, "ok\n\n")
    _, metrics = flaxd.get("/metrics")
    assert 'flaxd_changes_total{kind="add_tunnel"} 2.0' in metrics
    assert "flaxd_ready 1.0" in metrics
    assert "flaxd_ovsdb_connected 1.0" in metrics
    state = flaxd.state()
    assert state["plan"] == []
    assert [peer["peer"] for peer in state["peers"]] == ["node2", "node3"]


def test_not_ready_while_ovsdb_is_away(node1: Host, flaxd: Flaxd) -> None:
    """Without OVSDB the daemon lives and is not ready, and says why."""
    node1.signal("KILL", "ovsdb-server")

    def is_told() -> bool:
        status, text = flaxd.get("/readyz")
        return status == 503 and "OVSDB" in text

    wait_until(is_told, "503")
    assert flaxd.get("/healthz")[0] == 200
    assert "flaxd_ready 0.0" in flaxd.get("/metrics")[1]


def seconds_stale(flaxd: Flaxd) -> float:
    """For how long the nodes may be out of date, by the metrics."""
    _, text = flaxd.get("/metrics")
    (seconds,) = re.findall(r"^flaxd_source_stale_seconds (.+)$", text, re.MULTILINE)
    return float(seconds)


def test_since_when_the_nodes_may_be_out_of_date(flaxd: Flaxd, nodes: Nodes) -> None:
    """How long the nodes may be out of date counts from the first fault on, asked for or not."""
    flaxd.wait_for("the overlay works")
    before = time.monotonic()
    nodes.path.write_text("nonsense")
    flaxd.wait_for("the nodes stay as they were known")

    assert 0 < seconds_stale(flaxd) <= time.monotonic() - before

    nodes.write()
    wait_until(lambda: seconds_stale(flaxd) == 0, "the nodes to be up to date")
