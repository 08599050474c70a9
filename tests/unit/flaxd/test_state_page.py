# SPDX-License-Identifier: Apache-2.0
"""The page /state: all that the daemon knows, as data; and the decision that it shows."""

from __future__ import annotations

import json
from typing import Any

import linen
from linen.core import cluster, model
from linen.flaxd import health, reconcile, state_page
from linen.flaxd.rules import Counts
from linen.netlink.codec import Link
from linen.settings.table import Settings, load
from support.replicas import TEXT, replica_of

OWN = cluster.Peer("node1", "10.245.0.1", ranges=("10.244.1.0/24",))
NODE2 = cluster.Peer("node2", "10.245.0.2", ranges=("10.244.2.0/24",))
VIEW = cluster.View(OWN, {"node1": OWN, "node2": NODE2}, faults=["node node3 has no address"])
STATUS = state_page.Status(
    waiting=("OVSDB is away",),
    faults=("node node3 has no address",),
    notes=["no probes"],
    rules=Counts(wanted=10, installed=9, foreign=1, written=12, deleted=2),
)


def decide(chosen: Settings, view: cluster.View | None) -> reconcile.Decision:
    """The decision of a daemon beside an OVSDB without bridges."""
    followed = reconcile.monitored(chosen)
    columns = {table: dict.fromkeys(names, TEXT) for table, names in followed.items()}
    replica = replica_of(columns, {"Open_vSwitch": [{}]})
    links: dict[str, Link] = {}
    return reconcile.decide(chosen, cluster.Roster(view), replica, links, 1400)


def document(
    chosen: Settings, view: cluster.View | None, status: state_page.Status = STATUS
) -> dict[str, Any]:
    """Its state, as a reader of the page has it."""
    decision = decide(chosen, view)
    peers = health.assess(decision.neighbours.peers.values(), [], {})
    found: dict[str, Any] = json.loads(
        json.dumps(state_page.document(chosen, view, decision, peers, status))
    )
    return found


def test_whole_state() -> None:
    """The page has versions, settings, nodes, what is wanted, seen and planned, and the status."""
    chosen = load({"node": "node1", "vni": "7", "mtu": "1400"}, {}, None)

    found = document(chosen, VIEW)

    assert found["versions"]["linen"] == linen.__version__
    assert found["settings"]["overlay"]["vni"] == 7
    assert found["settings"]["conflist"] == "/etc/cni/net.d/linen.conflist"
    assert found["settings"]["given"] == ["vni"]
    assert found["view"]["nodes"]["node2"]["ranges"] == ["10.244.2.0/24"]
    assert found["desired"]["tunnels"][0]["options"]["remote_ip"] == "10.245.0.2"
    assert found["observed"] == {"bridge": None, "is_name_taken": False, "tunnels": []}
    assert found["plan"][0] == "OVS bridge br0 is missing"
    assert found["waiting"] == ["OVSDB is away"]
    assert found["faults"] == ["node node3 has no address"]
    assert found["notes"] == ["no probes"]
    assert found["peers"][0]["reason"] == "there is no tunnel to 10.245.0.2 (yet)"
    assert found["rules"] == {
        "wanted": 10,
        "installed": 9,
        "foreign": 1,
        "written": 12,
        "deleted": 2,
    }


def test_before_anything_is_known() -> None:
    """A daemon that knows nothing yet has a page that says so."""
    starting = state_page.Status(waiting=("starting",), faults=(), notes=(), rules=None)

    found = document(load({"node": "node1"}, {}, None), None, starting)

    assert (found["view"], found["desired"], found["observed"]) == (None, None, None)
    assert (found["plan"], found["peers"]) == ([], [])
    assert (found["waiting"], found["faults"], found["notes"]) == (["starting"], [], [])
    assert found["rules"] is None


def test_decision_without_an_own_address() -> None:
    """Until the node's tunnel address is known the daemon waits for it."""
    decision = decide(load({"node": "node1"}, {}, None), None)

    assert decision.waiting == ("this node's tunnel address is not known yet",)


def test_decision_beside_a_wrong_node() -> None:
    """What is wrong with other nodes is told, and keeps nothing from being done."""
    decision = decide(load({"node": "node1"}, {}, None), VIEW)

    assert decision.faults == ("node node3 has no address",)
    assert decision.plan is not None
    assert decision.plan.steps


def test_secrets_are_hidden() -> None:
    """A key among the tunnels' options is shown nowhere."""
    chosen = load({"node": "node1", "tunnel-options": "{psk: swordfish}"}, {}, None)

    found = document(chosen, VIEW)

    assert found["settings"]["overlay"]["tunnel_options"] == {"psk": "(hidden)"}
    assert "swordfish" not in json.dumps(found)


def test_a_value_without_a_form_is_no_data() -> None:
    """Every value of the model has a form as data."""
    assert state_page.plain(model.Observed(None, [])) == {
        "bridge": None,
        "is_name_taken": False,
        "tunnels": [],
    }
    assert state_page.plain({"a": (1, None, True)}) == {"a": [1, None, True]}
