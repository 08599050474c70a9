# SPDX-License-Identifier: Apache-2.0
"""The cluster's nodes from Kubernetes, and what this node tells there of itself.

Three watches: of the metadata of all Nodes, where each daemon has published its tunnel address and
pod ranges as annotations; of the own Node, whole, for its InternalIP and its podCIDRs; and of the
daemon's own service account, whose deletion says that Linen is taken off the cluster.
Written are the own annotations, the NetworkUnavailable condition, and Events for what an
administrator must know.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import linen
from linen import streams
from linen.core import cluster, model
from linen.flaxd import bridge_netfilter, secondary
from linen.flaxd import vtep as vteps
from linen.flaxd.installation import Installation
from linen.flaxd.removal import Removed
from linen.kube import errors, patches
from linen.kube.client import MERGE_PATCH, STRATEGIC_PATCH, Client
from linen.kube.events import Recorder
from linen.kube.nodes import MASTER, parse_own, parse_record
from linen.kube.watch import NODES, NOT_CONNECTED, Watch
from linen.settings.table import GATEWAY_NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.flaxd.sources import Learn
    from linen.kube.access import Access
    from linen.kube.nodes import NodeRecord, OwnNode
    from linen.netlink.monitor import Monitor
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.kubernetes")

GRACE = 10.0  # seconds that a working overlay may fail before the scheduler is told
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between attempts to write
LAST_WORDS = 5.0  # seconds for what an ending daemon still wants to tell


class KubernetesSource:
    """The nodes from an API server. `monitor`: where this node's own addresses are seen."""

    def __init__(self, access: Access, settings: Settings, monitor: Monitor) -> None:
        self._settings = settings
        self._monitor = monitor
        self._client = Client(access, f"flaxd/{linen.__version__}")
        self._wake = asyncio.Event()
        self._all: Watch[NodeRecord] = Watch(self._client, parse_record, self._wake.set)
        self._own: Watch[OwnNode] = Watch(
            self._client, parse_own, self._wake.set, only=settings.node
        )
        # Of the other nodes: what the records of `_all` say.
        self._peers: dict[str, cluster.Peer] = {}
        self._node_faults: dict[str, str] = {}
        self._vtep = vteps.Held(self._wake.set)
        account = settings.service_account
        self._installation = (
            Installation(self._client, account, self._wake.set) if account is not None else None
        )
        self._is_first = True  # the next view: it is another than the one kept on disk
        self._complaint = ""
        self._events = Recorder(self._client, _tell_of_drought)
        self._waiting: Sequence[str] | None = None  # None until the daemon has said something
        self._waiting_since = 0.0
        self._faults: tuple[str, ...] = ()
        self._reported: frozenset[str] = frozenset()
        self._writer: asyncio.Task[None] | None = None  # the only one that writes, but at the end
        self._to_write = asyncio.Event()  # that there may be something
        self._retry = streams.Retry(self._to_write.set, SHORTEST_PAUSE, LONGEST_PAUSE)
        self._was_away = False  # whether the last attempt to write failed for want of an answer

    @property
    def problem(self) -> str:
        """Why the nodes may be out of date; empty while they aren't."""
        return self._all.problem or self._own.problem

    @property
    def stale_since(self) -> float | None:
        """Since when they may be, as `time.monotonic` has it; None while they aren't."""
        moments = (self._all.stale_since, self._own.stale_since)
        return min((moment for moment in moments if moment is not None), default=None)

    def consider(self) -> None:
        """Look again at what this node has to tell."""
        self._wake.set()

    def report(self, waiting: Sequence[str], faults: Sequence[str]) -> None:
        """Take note why this node's overlay does not work (nothing: it does), and of its faults."""
        loop = asyncio.get_running_loop()
        if waiting and not self._waiting:
            self._waiting_since = loop.time()
            loop.call_later(GRACE, self._wake.set)
        self._waiting, self._faults = waiting, tuple(faults)
        self._wake.set()

    async def run(self, on_view: Learn) -> None:
        """Call `on_view` with each new view of the cluster, until cancelled.

        Raises `Removed`, in a group, when Linen is taken off the cluster.
        """
        async with self._client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._all.run(), name="nodes")
            tasks.create_task(self._own.run(), name="own node")
            if self._installation is not None:
                tasks.create_task(self._installation.run(), name="service account")
                tasks.create_task(self._go_with(self._installation), name="removal")
            tasks.create_task(self._work(on_view), name="news")
            self._writer = tasks.create_task(self._write_for_ever(), name="publication")
            tasks.create_task(self._watch_kernel(), name="kernel's settings")

    async def part(self) -> None:
        """Learn whether the daemon ends because Linen is taken off; raises `Removed` if so."""
        if self._installation is not None and await self._installation.ends():
            await self._withdraw()
            raise Removed

    async def _withdraw(self) -> None:
        """Take back what the own Node says of us, at once: our rights are about to go, too.

        Whatever is being written is given up, and nothing is written any more.
        """
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        node = self._own.records.get(self._settings.node)
        if node is None:
            return
        path = f"{NODES}/{node.name}"
        annotations = patches.publication(node, None)
        condition = patches.without_condition(node)
        try:
            async with asyncio.timeout(LAST_WORDS), asyncio.TaskGroup() as tasks:
                if annotations is not None:
                    tasks.create_task(self._client.patch(path, annotations, MERGE_PATCH))
                if condition is not None:
                    status = f"{path}/status"
                    tasks.create_task(self._client.patch(status, condition, STRATEGIC_PATCH))
        except* (errors.KubernetesError, TimeoutError) as group:
            for error in group.exceptions:
                log.warning("own Node keeps what it says of Linen: %s", error)

    async def _watch_kernel(self) -> None:
        """Look again at what this node has to tell when the kernel's settings change."""
        before: list[str] = []
        while True:
            faults = self._service_faults(self._own_peer())
            if faults != before:
                self._wake.set()
            before = faults
            await asyncio.sleep(bridge_netfilter.PAUSE)

    async def _go_with(self, installation: Installation) -> None:
        await installation.wait_for_removal()
        await self._withdraw()
        raise Removed

    async def _work(self, on_view: Learn) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._complain()
            if self._all.synced and self._own.synced:
                self._tell(on_view)
                self._to_write.set()

    def _complain(self) -> None:
        """Log each new problem, also one of the account's: nodes are up to date without that."""
        problem = self.problem or (self._installation.problem if self._installation else "")
        if problem not in {self._complaint, NOT_CONNECTED}:
            self._complaint = problem
            log.warning("API server: %s", problem or "connected again")

    def _tell(self, on_view: Learn) -> None:
        """Tell the cluster's nodes, and which may be others than the last time."""
        names, self._all.news = self._all.news, set()
        for name in names:
            self._follow(name)
        own, peers = self._own_peer(), dict(self._peers)
        if own is not None:
            own = peers[own.name] = self._placed(own)
        faults = sorted(self._node_faults.values())
        faults += self._vtep_faults() + self._master_faults()
        faults += self._service_faults(own)
        view = cluster.View(own, peers, faults=faults)
        on_view(view, None if self._is_first else {*names, self._settings.node})
        self._is_first = False

    def _follow(self, name: str) -> None:
        """Take in another node's record."""
        self._peers.pop(name, None)
        self._node_faults.pop(name, None)
        record = self._all.records.get(name)
        if record is None or name == self._settings.node:
            return
        if record.peer is not None:
            self._peers[name] = self._placed(record.peer)
        if record.fault:
            self._node_faults[name] = record.fault

    def _placed(self, peer: cluster.Peer) -> cluster.Peer:
        """A node with its pods' addresses in this network, which may be a secondary one."""
        if self._settings.gateway != GATEWAY_NONE:
            return peer
        return secondary.moved(peer, self._settings.cluster_range)

    def _service_faults(self, own: cluster.Peer | None) -> list[str]:
        """What keeps services' answers from pods: none are expected where there is no gateway."""
        if own is None or self._settings.gateway == GATEWAY_NONE:
            return []
        return bridge_netfilter.faults(own.ranges)

    def _own_peer(self) -> cluster.Peer | None:
        node = self._own.records.get(self._settings.node)
        if node is None:
            return None
        told = self._told_by_another()
        vtep = self._vtep.take(told.vtep) if told else self._own_vtep(node)
        if vtep is None:
            return None
        is_master = told.is_master if told else node.is_master
        return cluster.Peer(node.name, vtep, ranges=node.pod_ranges, is_master=is_master)

    def _own_vtep(self, node: OwnNode) -> str | None:
        """This node's tunnel address by its own choice.

        What a secondary network chooses counts only once it is clear that no other tells it.
        """
        own = self._candidates(node)
        found = vteps.choose(self._settings, own)
        is_first = self._settings.gateway != GATEWAY_NONE
        return self._vtep.follow(found, own, may_move=is_first)

    def _told_by_another(self) -> cluster.Peer | None:
        """This node, as the daemon of the cluster's network tells it; None if that is for us to do.

        A secondary network's tunnels end where the first one's do. If its daemon chose as well, and
        chose otherwise, the two would write for ever.
        """
        record = self._all.records.get(self._settings.node)
        if self._settings.gateway != GATEWAY_NONE or record is None or record.peer is None:
            return None
        return record.peer if self._monitor.links_with(record.peer.vtep) else None

    def _candidates(self, node: OwnNode) -> list[str]:
        return vteps.candidates(self._settings, self._monitor, node.vteps)

    def _vtep_faults(self) -> list[str]:
        node = self._own.records.get(self._settings.node)
        if node is None or self._own_peer() is not None:
            return []
        fault = vteps.fault(self._settings, self._candidates(node))
        return [fault] if fault else []

    def _master_faults(self) -> list[str]:
        """That an administrator's conflist alone takes this node for a star's master.

        Others believe a Node's label: its daemon's token can say much of the node, but not that.
        """
        node, overlay = self._own.records.get(self._settings.node), self._settings.overlay
        is_star = overlay.topology == model.TOPOLOGY_STAR
        if node is None or node.is_master or not (is_star and overlay.is_master):
            return []
        label = f"`kubectl label node {node.name} {MASTER}=true`"
        said = "is no master although its conflist says isMaster"
        return [f"node {node.name} {said}: in Kubernetes a label decides: {label}"]

    async def _write_for_ever(self) -> None:
        """Write whatever there is to write, apart from all else: it may take its time, or hang."""
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            await self._write_or_retry()

    async def _write_or_retry(self) -> None:
        # As with watches, a server that was away and is back is not waited for.
        is_back = self._was_away and self._client.works.is_set()
        if not (self._retry.is_due or is_back):
            return
        try:
            await self._write()
            self._retry.succeeded()
        except errors.KubernetesError as error:
            self._was_away = not self._client.works.is_set()
            pause = self._retry.failed(errors.pause_asked_for(error))
            log.warning("own Node: %s; next attempt in %.1f s", error, pause)

    async def _write(self) -> None:
        """Write what differs; the watch of the own Node tells when it has arrived."""
        node = self._own.records.get(self._settings.node)
        if node is None:
            return
        path = f"{NODES}/{node.name}"
        publication = patches.publication(node, self._own_peer())
        if publication is not None:
            await self._client.patch(path, publication, MERGE_PATCH)
        problem = self._problem_to_tell(node)
        # A network without a gateway is not what the scheduler means by the node's.
        if problem is not None and self._settings.gateway != GATEWAY_NONE:
            condition = patches.network_condition(node, problem, datetime.now(UTC))
            if condition is not None:
                await self._client.patch(f"{path}/status", condition, STRATEGIC_PATCH)
        await self._write_events(node, problem or "")

    def _problem_to_tell(self, node: OwnNode) -> str | None:
        """Why the network is unavailable, "" if it is available; None while it's too early to say.

        A node that is new is unavailable at once. One that worked gets some time: OVSDB may be
        restarting.
        """
        if self._waiting is None:
            return None
        if not self._waiting:
            return ""
        waited = asyncio.get_running_loop().time() - self._waiting_since
        is_known = node.condition is not None and node.condition.status == "False"
        return None if is_known and waited < GRACE else "; ".join(self._waiting)

    async def _write_events(self, node: OwnNode, problem: str) -> None:
        """One Event for each fault when it appears, and one when the network stops working."""
        present = frozenset((*self._faults, *node.faults, *([problem] if problem else [])))
        self._reported &= present
        for text in sorted(present - self._reported):
            reason = "NetworkNotReady" if text == problem else "OverlayFault"
            await self._events.emit(node, "Warning", reason, text)
            self._reported |= {text}


def _tell_of_drought(reason: str) -> None:
    log.warning("Events of reason %s are left out for now: there were many; see /state", reason)
