# SPDX-License-Identifier: Apache-2.0
"""The daemon at work: what is known, one decision after each change, and what it orders, done.

Everything that can change (the cluster's nodes, OVSDB, this node's devices and files) sets one
event. One task waits for it, decides from all that is known, and carries the decision out; what
that changes sets the event again, until there is nothing left to do. At rest nothing runs but a few
looks at what tells nobody that it has changed: ovs-vswitchd's pidfile, the firewall, sysctls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from linen import streams
from linen.core import cluster, errors, intentions, model, naming, transaction
from linen.flaxd import cache, devices, metrics, reconcile
from linen.flaxd.announcement import Announcement
from linen.flaxd.bridge_guard import BridgeGuard
from linen.flaxd.change_pace import ChangePace
from linen.flaxd.conflist_watch import ConflistWatch
from linen.flaxd.firewall import Firewall
from linen.flaxd.local_networks import LocalNetworks
from linen.flaxd.node_conflist import NodeConflist
from linen.flaxd.rules import Rules
from linen.flaxd.telemetry import Telemetry
from linen.flaxd.underlay import Underlay
from linen.flaxd.vswitchd import Vswitchd
from linen.host.errors import HostError
from linen.netlink.monitor import Monitor
from linen.ovsdb.blocking import TransactionError
from linen.ovsdb.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from linen.core.plan import Plan
    from linen.flaxd.sources import Source
    from linen.settings.table import Settings

log = logging.getLogger("flaxd")

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 30.0  # seconds between attempts at what keeps failing

# What can be better at the next attempt.
_PASSING = (errors.Unavailable, errors.OvsRefused, TransactionError, HostError, OSError)


class Daemon:
    """One node's daemon. The tunnels stay when it ends.

    `given`: the settings without what an administrator's conflist says.
    """

    def __init__(
        self, settings: Settings, given: Settings, make_source: Callable[[Monitor], Source]
    ) -> None:
        self.settings = settings
        self.roster = cluster.Roster(cache.load(settings))
        self.decision = reconcile.Decision()
        self.session = Session(
            settings.overlay.ovsdb,
            reconcile.monitored(settings),
            self._changed,
            lock=naming.writers_lock(settings.network),
            presence=naming.FLAXD_LOCK,
        )
        self.monitor = Monitor(self._links_changed)
        self.source = make_source(self.monitor)
        is_flow = settings.overlay.topology == model.TOPOLOGY_FLOW
        self.rules = Rules(settings, self.roster, self._changed) if is_flow else None
        self._underlay = Underlay(settings, self.roster, self.monitor)
        self._networks = LocalNetworks(settings, self.session.replica, self.monitor)
        self.firewall = Firewall(settings, self._networks, self._underlay.devices, self._changed)
        self.bridge_guard = BridgeGuard(settings, self._networks, self._changed)
        self._vswitchd = Vswitchd(self.session, self._changed)
        self.heard = time.monotonic()  # when the last news of the nodes came
        self.busy_since: float | None = None  # when the decision in work was made
        self._announcement = Announcement(self.source.report, self._changed)
        self.telemetry = Telemetry(self)
        self._conflist_watch = ConflistWatch(settings, given, self._changed)
        self._conflist = NodeConflist(settings, self._underlay, self._changed)
        self._keeper = cache.Keeper(settings)
        self._wake = asyncio.Event()
        self._pace = ChangePace()
        self._retry = streams.Retry(self._changed, SHORTEST_PAUSE, LONGEST_PAUSE)

    @property
    def view(self) -> cluster.View | None:
        """The cluster's nodes, None while they are not known."""
        return self.roster.view

    @property
    def waiting(self) -> tuple[str, ...]:
        """Why the overlay does not work; empty while it does."""
        waiting = self._announcement.waiting
        is_known = self.view is not None and self.view.own is not None
        if is_known or not waiting or not self.source.problem:
            return waiting
        return (*waiting, f"the nodes are not known yet: {self.source.problem}")

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong without keeping the overlay from working."""
        return self._announcement.faults

    async def run(self) -> None:
        """Work until cancelled. An unexpected error in one part of the daemon ends all of it.

        Raises `ConflistChanged`, in a group.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.session.run(), name="ovsdb")
            tasks.create_task(self.monitor.run(), name="links")
            tasks.create_task(self.source.run(self._learn), name="nodes")
            tasks.create_task(self._conflist_watch.run(), name="conflist")
            tasks.create_task(self.telemetry.run(), name="telemetry")
            tasks.create_task(self._reconcile_for_ever(), name="reconcile")
            tasks.create_task(self._keeper.run(), name="cache")
            tasks.create_task(self.firewall.run(), name="firewall")
            tasks.create_task(self.bridge_guard.run(), name="bridge guard")
            tasks.create_task(self._vswitchd.run(), name="vswitchd")
            if self.rules is not None:
                tasks.create_task(self.rules.run(), name="rules")

    def _changed(self) -> None:
        self._wake.set()

    def _links_changed(self) -> None:
        self.source.consider()
        self._wake.set()

    def _learn(self, view: cluster.View, names: Iterable[str] | None) -> None:
        if not self.roster.learn(view, names):
            return
        self.heard = time.monotonic()
        self._changed()

    async def _reconcile_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.busy_since = began = time.monotonic()
            try:
                outcome = await self._reconcile()
                self._retry.succeeded()
            except streams.FolderRemoved:
                raise
            except _PASSING as error:
                outcome = metrics.FAILED
                self._tell((str(error),), self.decision.faults)
                log.warning("try again: %s", error)
                self._retry.failed()  # a change before then may be what was missing: it is tried
            self.busy_since = None
            self.telemetry.metrics.reconciled(outcome, time.monotonic() - began)
            self.telemetry.look()
            if self.view is not None:  # for the next start, after all that is more urgent
                self._keeper.keep(self.view)

    def cluster_range(self) -> tuple[str, ...]:
        """All pods' addresses, as CIDRs."""
        given = self.view.cluster_range if self.view is not None else ()
        return given or self.settings.cluster_range

    async def _reconcile(self) -> str:
        """Decide, and do what was decided; the outcome, as metrics count it."""
        if not self.session.connected:
            self._tell((f"OVSDB at {self.session.path}: {self.session.problem}",), ())
            return metrics.WAITING
        self.decision = decision = self._decide()
        if self._conflist_watch.objections:
            self._tell(self._conflist_watch.objections, decision.faults)
            return metrics.WAITING
        if not self.session.may_write:
            return self._look_on(decision)
        if decision.placing is not None:
            devices.put_in_place(decision.placing)
        plan = decision.plan
        if plan is not None and plan.steps:
            await self._carry_out(plan)  # the replica's news bring us back here
            return metrics.CHANGED
        self.firewall.consider()
        self.bridge_guard.consider(plan.seen if plan else None, self._vswitchd.identity)
        if self.rules is not None and await self._keep_rules(self.rules, decision):
            return metrics.CHANGED
        waiting, faults = self._hindrances(decision)
        waiting = waiting or self._conflist.ensure(self.view)
        if not waiting and self._conflist.mtu is not None:
            self._give_mtu(self._conflist.mtu)
        self._tell(waiting, faults + self._conflist_watch.rivals)
        return metrics.WAITING if waiting else metrics.UNCHANGED

    def _decide(self) -> reconcile.Decision:
        """What is to be done, by all that is known now."""
        mtu = self._underlay.pod_mtu()
        addresses = {address.ip for address in self.monitor.addresses}
        return reconcile.decide(
            self.settings, self.roster, self.session.replica, self.monitor.links, mtu, addresses
        )

    async def _keep_rules(self, rules: Rules, decision: reconcile.Decision) -> bool:
        """Bring the rules of topology flow in line with a decision; whether any were written."""
        linux_bridge = self.monitor.links.get(self.settings.linux_bridge)
        mac = linux_bridge.mac if linux_bridge else b""
        rules.learn(decision.outlet, mac, self._networks.vxlan_ports())
        return await self._write_rules(rules)

    def _hindrances(self, decision: reconcile.Decision) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Why the overlay does not work yet, the first reason alone; and what else is wrong."""
        waiting, faults = decision.waiting, decision.faults
        if self._vswitchd.problem:  # then nobody sends anything, guarded or not
            waiting = (self._vswitchd.problem,)
        else:
            faults += self.bridge_guard.faults
        if self.firewall.fault:
            faults += (self.firewall.fault,)
        if self.rules is not None:
            waiting = waiting or self.rules.waiting()
            faults += self.rules.faults()
        if not (self.firewall.is_settled and self.bridge_guard.is_settled):
            waiting = waiting or ("the rules that keep pods from sending VXLAN are not there yet",)
        return waiting, faults

    def _give_mtu(self, mtu: int) -> None:
        """Let the Linux bridge have the conflist's MTU, unless that is taken from it.

        The bridge plugin gives it that only when it makes it; and as long as the OVS bridge is on
        it, with the MTU of before, it would never grow.
        """
        linux_bridge = self.monitor.links.get(self.settings.linux_bridge)
        if linux_bridge is None or linux_bridge.kind != "bridge":
            return
        if linux_bridge.name in (self._underlay.devices() or ()):
            return
        if linux_bridge.mtu != mtu:
            devices.set_mtu(linux_bridge, mtu)

    def _look_on(self, decision: reconcile.Decision) -> str:
        """Leave all changes to the daemon that has OVSDB's lock; the outcome, as for metrics.

        Two daemons hear of nodes at different times, so what one has just added looks to the other
        like a leftover.
        """
        network = self.settings.network
        other = f"another flaxd of network {network} runs on this node; this one waits for its end"
        self._tell(decision.waiting, (*decision.faults, other))
        return metrics.WAITING if decision.waiting else metrics.UNCHANGED

    async def _write_rules(self, rules: Rules) -> bool:
        """Write the rules that are missing, and look again; whether there were any."""
        changes = rules.missing()
        if changes is None:
            return False
        first = [entry.key.hex() for entry in changes.add[:1]]
        await asyncio.sleep(self._pace.changing(first, asyncio.get_running_loop().time()))
        await rules.write(changes)
        self._changed()
        return True

    async def _carry_out(self, plan: Plan) -> None:
        """One transaction.

        Whether it came in time or another was quicker, the replica tells next.
        """
        changes = intentions.intentions(plan.spec.bridge, plan.steps)
        await asyncio.sleep(self._pace.changing(changes, asyncio.get_running_loop().time()))
        try:
            await self.session.transact(transaction.operations(plan))
        except TransactionError as error:
            if error.kind not in transaction.RACE_LOST:
                raise
            self._changed()
            return
        self.telemetry.metrics.changed(plan.steps)
        for sentence in changes:
            log.info("%s", sentence)

    def _tell(self, waiting: tuple[str, ...], faults: tuple[str, ...]) -> None:
        """Why the overlay does not work, if it does not, and what is wrong besides."""
        self._announcement.tell(waiting, faults, len(self.decision.neighbours.peers))
