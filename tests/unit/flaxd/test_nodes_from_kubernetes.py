# SPDX-License-Identifier: Apache-2.0
"""From what a watch of Nodes tells to the daemon's view: step by step as from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from linen.core import cluster
from linen.flaxd.kubernetes import KubernetesSource
from linen.kube.access import Access
from linen.kube.client import Client
from linen.kube.nodes import parse_own, parse_record
from linen.netlink.monitor import Monitor
from linen.settings.table import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHOSEN = load({"node": "n0", "vtep-ip": "10.0.0.100", "gateway": "none"}, {}, None)
OWN = {"metadata": {"name": "n0", "uid": "u"}, "spec": {"podCIDRs": ["10.244.0.0/24"]}}
STEPS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["ADDED", "MODIFIED", "DELETED"]),
            st.sampled_from(["n0", "n1", "n2", "n3"]),
            st.sampled_from(["10.0.0.1", "10.0.0.2", "wrong", None]),
        )
    )
)


def node(name: str, vtep: str | None) -> dict[str, Any]:
    """A Node whose daemon has this address, or has said nothing yet."""
    annotations = {"linen-cni/vtep": vtep, "linen-cni/pod-ranges": "10.244.1.0/24"} if vtep else {}
    return {"metadata": {"name": name, "annotations": annotations}}


@given(STEPS)
def test_views_follow_the_watch(steps: Sequence[Sequence[tuple[str, str, str | None]]]) -> None:
    """A view that was carried on by what is told of some Nodes is that of all Nodes there are."""
    client = Client(Access("https://127.0.0.1:1"), "linen-tests")
    source = KubernetesSource(client, CHOSEN, Monitor(lambda: None))
    own = parse_own(OWN)
    assert own is not None
    source._own.records["n0"] = own
    roster, there = cluster.Roster(), dict[str, dict[str, Any]]()

    def learn(view: cluster.View, names: Iterable[str] | None) -> None:
        roster.learn(view, names)

    for step in steps:
        for kind, name, vtep in step:
            there.pop(name, None)
            if kind != "DELETED":
                there[name] = node(name, vtep)
            source._all._apply({"type": kind, "object": node(name, vtep)})
        source._look(learn)

        records = [parse_record(found) for name, found in there.items() if name != "n0"]
        view = roster.view
        assert view is not None
        assert view.own == view.nodes["n0"]
        peers = {r.name: r.peer for r in records if r is not None and r.peer is not None}
        assert view.nodes.keys() - {"n0"} == peers.keys()
        assert all(view.nodes[name].vtep == peer.vtep for name, peer in peers.items())
        assert sorted(r.fault for r in records if r is not None and r.fault) == list(view.faults)
        anew = cluster.Roster(view)
        assert (roster.peers, roster.faults()) == (anew.peers, anew.faults())
