# SPDX-License-Identifier: Apache-2.0
"""What to do next, from all that is known now. Pure: the same knowledge gives the same decision.

Level, not edge: every decision compares all that the cluster needs with all that this node has,
so it does not matter what was missed while the daemon, OVSDB or Kubernetes was away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from linen.core import cluster, desired, errors, flows, model, observed, obstacles, place, planner
from linen.core.naming import MAKER_FLAXD
from linen.core.plan import Plan, RemoveTunnel
from linen.flaxd import health, local_networks
from linen.ovsdb.replica import columns_read_by

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from linen.core.plan import Step
    from linen.netlink.codec import Link
    from linen.ovsdb.replica import Replica
    from linen.settings.table import Settings


@dataclass(frozen=True)
class Placing:
    """An order to put the OVS bridge's device on the Linux bridge, and to set it up."""

    port: Link
    linux_bridge: Link


@dataclass(frozen=True)
class Decision:
    """What is to be done, and what people should know.

    `plan`: None while this node's own tunnel address is not known.
    `outlet`: in topology flow, where packets leave, as soon as Open vSwitch has made that.
    `waiting`: why the overlay does not work yet; empty when it does.
    `faults`: what is wrong without keeping the overlay from working.
    """

    neighbours: cluster.Neighbours = field(default_factory=lambda: cluster.Neighbours({}, []))
    plan: Plan | None = None
    placing: Placing | None = None
    outlet: flows.Outlet | None = None
    waiting: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def monitored(settings: Settings) -> dict[str, set[str]]:
    """The columns of OVSDB that the daemon follows: to decide by, and to tell health by."""
    return columns_read_by(
        questions(settings),
        [planner.ROOT, *obstacles.READS],
        [local_networks.BRIDGE_QUESTION, local_networks.TUNNEL_QUESTION],
        [health.question(settings.network, MAKER_FLAXD)],
    )


def questions(settings: Settings) -> list[object]:
    """What is asked of the replica."""
    return observed.questions(settings.overlay.ovs_bridge, settings.network, MAKER_FLAXD)


def decide(
    settings: Settings,
    roster: cluster.Roster,
    replica: Replica,
    links: Mapping[str, Link],
    mtu: int | None,
    own_addresses: Container[str] = (),
) -> Decision:
    """The decision from the cluster's nodes, OVSDB's rows, this node's devices and addresses.

    `mtu`: bytes of a pod's packet, for as long as there is no Linux bridge to take it from.
    """
    view = roster.view
    if view is None or view.own is None:
        said = view.faults if view is not None else ()
        return Decision(waiting=("this node's tunnel address is not known yet",), faults=said)
    found = cluster.neighbours(view.own, roster, settings.overlay.topology, own_addresses)
    linux_bridge = links.get(settings.linux_bridge)
    segment = view.cluster_range or settings.cluster_range
    spec = _spec(settings, view.own, found, linux_bridge.mtu if linux_bridge else mtu, segment)
    seen = observed.answers(replica.answer(questions(settings)), settings.network)
    faults = [*view.faults, *found.faults, *_refused(seen)]
    try:
        place.refuse_foreign(links.get(spec.bridge))
        plan = replica.converse(planner.find_plan(spec, seen))
        placing = _placing(settings, seen, links)
    except errors.Conflict as conflict:
        waits_for = (conflict.sentence,)
        nothing = Plan(spec, seen, ())
        return Decision(found, nothing, waiting=waits_for, faults=tuple(faults))
    if not view.complete:
        plan = Plan(spec, seen, [step for step in plan.steps if not _may_cut_off_a_node(step)])
    waiting = _claimed(view.own, roster)
    waiting += _waiting(plan) or _out_of_place(settings, links)
    outlet = _outlet(settings, seen)
    return Decision(found, plan, placing, outlet, tuple(waiting), tuple(faults))


def _may_cut_off_a_node(step: Step) -> bool:
    """Whether a step takes a tunnel away that may lead to a node of which nothing is known yet.

    The port of topology flow leads to none: on a bridge that has left that topology, and has no
    rules any more, it would take in packets from whoever sends them.
    """
    if not isinstance(step, RemoveTunnel):
        return False
    interface = step.observed.interface
    return interface is None or interface.options.get("remote_ip") != model.REMOTE_BY_RULE


def _outlet(settings: Settings, seen: model.Observed) -> flows.Outlet | None:
    """In topology flow, where packets leave, as soon as Open vSwitch has made it."""
    overlay = settings.overlay
    if overlay.topology != model.TOPOLOGY_FLOW:
        return None
    for tunnel in seen.tunnels:
        row = tunnel.interface
        if row is not None and row.options.get("remote_ip") == model.REMOTE_BY_RULE:
            if row.ofport is None or row.ofport < 0:
                return None
            return flows.Outlet(row.ofport, overlay.vni or 0, overlay.dst_port or model.VXLAN_PORT)
    return None


def _spec(
    settings: Settings,
    own: cluster.Peer,
    found: cluster.Neighbours,
    mtu: int | None,
    segment: Sequence[str],
) -> model.OverlaySpec:
    if settings.overlay.topology == model.TOPOLOGY_FLOW:
        vteps, interval = [model.REMOTE_BY_RULE], 0  # BFD needs a tunnel for each peer
    else:
        vteps, interval = found.vteps(), settings.bfd_interval
    options = settings.overlay.with_vteps(vteps, is_master=own.is_master)
    return desired.overlay_spec(
        options,
        network=settings.network,
        maker=MAKER_FLAXD,
        mtu=mtu,
        bfd=bfd(interval),
        segment=segment,
    )


def bfd(interval: int) -> dict[str, str]:
    """`Interface.bfd` for packets every `interval` milliseconds; 0 turns it off."""
    if not interval:
        return {"enable": "false"}
    return {"enable": "true", "min_rx": str(interval), "min_tx": str(interval)}


def _refused(seen: model.Observed) -> list[str]:
    """What Open vSwitch says about tunnels that it could not make."""
    rows = [(tunnel.name, tunnel.interface) for tunnel in seen.tunnels if tunnel.interface]
    return [
        f"Open vSwitch refuses tunnel {name}: {interface.refusal}"
        for name, interface in rows
        if interface.refusal
    ]


def _placing(settings: Settings, seen: model.Observed, links: Mapping[str, Link]) -> Placing | None:
    """What is to be done for the OVS bridge's place, as soon as both bridges exist.

    Raises `Conflict` where it is not ours to change, also before there is a Linux bridge: the first
    pod's ADD would fail.
    """
    port = links.get(settings.overlay.ovs_bridge)
    linux_bridge = links.get(settings.linux_bridge)
    if port is None or seen.bridge is None:
        return None
    if place.is_held(port, linux_bridge, seen.bridge, settings.network):
        raise place.held(port, _holder(port, links), settings.network)
    if linux_bridge is None or linux_bridge.kind != "bridge":
        return None
    if place.is_right(port, linux_bridge):
        return None
    if place.is_own(seen.bridge, settings.network) and port.mtu != linux_bridge.mtu:
        # Open vSwitch is about to change it. Until then the Linux bridge would take it for its own.
        return None
    return Placing(port, linux_bridge)


def _out_of_place(settings: Settings, links: Mapping[str, Link]) -> list[str]:
    """What keeps packets from passing between the two bridges, as soon as there is a Linux one."""
    name = settings.overlay.ovs_bridge
    port, linux_bridge = links.get(name), links.get(settings.linux_bridge)
    if linux_bridge is None:
        return []
    if port is None:  # somebody has removed it, which Open vSwitch does not notice
        return [f"device {name} of the OVS bridge does not exist: restart ovs-vswitchd"]
    return place.faults(port, linux_bridge, _holder(port, links))


def _holder(port: Link, links: Mapping[str, Link]) -> Link | None:
    """What a device hangs on, None where that is nothing."""
    return next((link for link in links.values() if link.index == port.master), None)


def _claimed(own: cluster.Peer, roster: cluster.Roster) -> list[str]:
    """That the others send this node's packets elsewhere: pods here would reach nobody."""
    other = roster.find_stronger_claim()
    if other is None:
        return []
    text = (
        f"node {other} has this node's tunnel address {own.vtep}, and of two nodes the first by"
        f" name keeps it, so nobody sends packets here: delete Node {other} if that is gone, or"
        " give one of them another address"
    )
    return [text]


def _waiting(plan: Plan) -> list[str]:
    """Why the overlay does not work yet: what only others can give is not among it."""
    spec, seen = plan.spec, plan.seen
    if plan.steps:
        return [f"OVS bridge {spec.bridge} and its tunnels are being changed"]
    internal = seen.bridge.interface if seen.bridge else None
    if internal is None or internal.ofport is None:
        return [f"ovs-vswitchd has not made OVS bridge {spec.bridge} yet"]
    if internal.refusal:
        return [f"Open vSwitch cannot make {spec.bridge}: {internal.refusal}"]
    pending = [t.name for t in seen.tunnels if t.interface and t.interface.ofport is None]
    return [f"ovs-vswitchd has not made {', '.join(pending)} yet"] if pending else []
