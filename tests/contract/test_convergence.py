# SPDX-License-Identifier: Apache-2.0
"""Plans carried out by a real ovsdb-server: from anywhere, one transaction leads to the goal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linen.core import desired, model, observed, obstacles, planner, transaction
from linen.light.sock import Deadline
from linen.ovsdb.blocking import Connection, TransactionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from linen.core.plan import Plan, Step

PEERS = ["10.0.0.1", "10.0.0.2", "192.168.100.101", "192.168.100.102", "fd00::1", "fd00::2"]
CONTROLLERS = ["tcp:10.9.9.1:6653", "ssl:10.9.9.2:6653"]

overlays = st.builds(
    model.OverlayOptions,
    is_master=st.booleans(),
    vteps=st.lists(st.sampled_from(PEERS), unique=True),
    controllers=st.lists(st.sampled_from(CONTROLLERS), unique=True),
    vni=st.sampled_from([None, 7, 8]),
    dst_port=st.sampled_from([None, 8472]),
    stp=st.sampled_from(["off", "stp", "rstp"]),
    topology=st.sampled_from(["star", "mesh"]),
    tunnel_options=st.sampled_from([{}, {"csum": "true"}]),
)


@pytest.fixture
def connection(ovsdb: str) -> Iterator[Connection]:
    """A connection to an empty database."""
    with Connection(ovsdb, Deadline(60)) as opened:
        yield opened


# What somebody may do to our rows by hand between two plans.
VANDALISM: dict[str, dict[str, Any]] = {
    "other key": {"table": "Interface", "row": {"options": ["map", [["remote_ip", "10.0.0.1"]]]}},
    "other type": {"table": "Interface", "row": {"type": "gre"}},
    "no mark": {"table": "Interface", "row": {"external_ids": ["map", []]}},
    "protection": {"table": "Port", "row": {"protected": True}},
    "fail mode": {"table": "Bridge", "row": {"fail_mode": "secure"}},
    "spanning tree": {"table": "Bridge", "row": {"stp_enable": True}},
}


class Node:
    """One network's part of an OVSDB."""

    def __init__(self, connection: Connection, network: str = "blue") -> None:
        self.connection = connection
        self.network = network

    def look(self, options: model.OverlayOptions) -> model.Observed:
        """What is there."""
        questions = observed.questions(options.ovs_bridge, self.network, "plugin")
        return observed.answers(self.connection.transact(questions), self.network)

    def plan(self, options: model.OverlayOptions, seen: model.Observed | None = None) -> Plan:
        """What is wanted, what is there (or was), and what is to be done."""
        seen = seen or self.look(options)
        spec = desired.overlay_spec(options, network=self.network, maker="plugin", mtu=1400)
        return self.connection.converse(planner.find_plan(spec, seen))

    def reach(self, options: model.OverlayOptions) -> Sequence[Step]:
        """Carry out one plan; what is left to do after it."""
        plan = self.plan(options)
        if plan.steps:
            self.connection.transact(transaction.operations(plan))
        return self.plan(options).steps

    def wreck(self, kind: str) -> None:
        """Change rows by hand."""
        self.connection.transact([{"op": "update", "where": []} | VANDALISM[kind]])

    def rows(self, table: str, *columns: str) -> list[dict[str, Any]]:
        """Some columns of all rows of a table, sorted."""
        operation = {"op": "select", "table": table, "where": [], "columns": list(columns)}
        rows: list[dict[str, Any]] = self.connection.transact([operation])[0]["rows"]
        return sorted(rows, key=str)

    def reset(self) -> None:
        """Empty the database but for its root row."""
        clear = {"op": "update", "table": "Open_vSwitch", "where": []}
        self.connection.transact([clear | {"row": {"bridges": ["set", []]}}])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(overlays, min_size=1, max_size=3),
    st.lists(st.sampled_from(sorted(VANDALISM)), max_size=2),
)
def test_one_plan_is_enough(
    connection: Connection, history: list[model.OverlayOptions], vandalism: list[str]
) -> None:
    """From whatever configurations and hands have left, one transaction reaches the last one."""
    node = Node(connection)
    node.reset()
    for options in history[:-1]:
        assert node.reach(options) == []
    for kind in vandalism:
        node.wreck(kind)

    left = node.reach(history[-1])

    assert left == []
    names = [row["name"] for row in node.rows("Port", "name")]
    assert len(names) == 1 + len(history[-1].vteps)
    assert len(node.rows("Controller", "target")) == len(history[-1].controllers)


def test_foreign_rows_stay_as_they_are(connection: Connection) -> None:
    """A port and a controller of somebody else outlive every change of ours, untouched."""
    node = Node(connection)
    options = model.OverlayOptions(vteps=PEERS, controllers=CONTROLLERS)
    node.reach(options)
    foreign_port = {"name": "vx-admin", "interfaces": ["named-uuid", "i"], "protected": False}
    insert = [
        {"op": "insert", "table": "Interface", "uuid-name": "i", "row": {"name": "vx-admin"}},
        {"op": "insert", "table": "Port", "uuid-name": "p", "row": foreign_port},
        {"op": "insert", "table": "Controller", "uuid-name": "c", "row": {"target": "tcp:9.9.9.9"}},
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [],
            "mutations": [
                ["ports", "insert", ["named-uuid", "p"]],
                ["controller", "insert", ["named-uuid", "c"]],
            ],
        },
    ]
    node.connection.transact(insert)

    left = node.reach(model.OverlayOptions())

    assert left == []
    assert [row["name"] for row in node.rows("Port", "name")] == ["br0", "vx-admin"]
    assert node.rows("Controller", "target") == [{"target": "tcp:9.9.9.9"}]


def test_bridge_can_be_renamed(connection: Connection) -> None:
    """When a network gets another OVS bridge, its tunnels move there in one transaction."""
    node = Node(connection)
    node.reach(model.OverlayOptions(vteps=PEERS))

    left = node.reach(model.OverlayOptions(vteps=PEERS, ovs_bridge="br7"))

    assert left == []
    assert len(node.rows("Port", "name")) == len(PEERS) + 2


def test_two_networks_with_the_same_peers(connection: Connection) -> None:
    """Two networks with a vni each have tunnels of their own to the same peers on one node."""
    blue, green = Node(connection, "blue"), Node(connection, "green")
    for_blue = model.OverlayOptions(vteps=PEERS, vni=7)
    for_green = model.OverlayOptions(vteps=PEERS, vni=8, ovs_bridge="br1")

    assert blue.reach(for_blue) == []
    assert green.reach(for_green) == []

    assert blue.plan(for_blue).steps == []
    assert len(blue.rows("Port", "name")) == 2 * len(PEERS) + 2


@pytest.mark.parametrize("new_tunnels", [1, obstacles.SEARCH_LIMIT + 1])
def test_the_same_tunnels_made_by_another_meanwhile(
    connection: Connection, new_tunnels: int
) -> None:
    """What another ADD of the network makes between two questions is not taken for somebody else's.

    Whoever plans the same then loses the race and looks again, so it sees whether that works.
    """
    node = Node(connection)
    before = model.OverlayOptions(vteps=PEERS, vni=7)
    grown = model.OverlayOptions(
        vteps=[*PEERS, *(f"10.1.1.{number}" for number in range(new_tunnels))], vni=7
    )
    node.reach(before)
    seen = node.look(grown)
    node.reach(grown)

    late = node.plan(grown, seen)

    with pytest.raises(TransactionError) as lost:
        connection.transact(transaction.operations(late))
    assert lost.value.kind in transaction.RACE_LOST


def test_answer_does_not_grow_with_others_tunnels(connection: Connection) -> None:
    """What a steady ADD reads is as large beside 300 tunnels of somebody else as beside none."""
    blue, other = Node(connection, "blue"), Node(connection, "other")
    options = model.OverlayOptions(vteps=PEERS, vni=7)
    blue.reach(options)
    questions = observed.questions("br0", "blue", "plugin")
    before = len(str(blue.connection.transact(questions)))

    crowd = [f"10.1.{i >> 8}.{i & 255}" for i in range(1, 301)]
    other.reach(model.OverlayOptions(vteps=crowd, vni=9, ovs_bridge="br1"))

    assert before == len(str(blue.connection.transact(questions)))
