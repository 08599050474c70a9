# SPDX-License-Identifier: Apache-2.0
"""The cluster's nodes from Kubernetes.

Three watches: of the metadata of all Nodes, where each daemon has published its tunnel address and
pod ranges as annotations; of the own Node, whole, for its InternalIP and its podCIDRs; and of the
daemon's own service account, whose deletion says that Linen is taken off the cluster.
What this node tells there of itself is written by `node_writer`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import linen
from linen.core import cluster, model
from linen.flaxd import bridge_netfilter, pod_network
from linen.flaxd import vtep as vteps
from linen.flaxd.node_writer import NodeWriter
from linen.flaxd.own_account import OwnAccount
from linen.flaxd.removal import Removed
from linen.kube.client import Client
from linen.kube.nodes import MASTER, parse_own, parse_record
from linen.kube.watch import NOT_CONNECTED, Watch
from linen.settings.table import GATEWAY_NONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from linen.flaxd.sources import Learn
    from linen.kube.access import Access
    from linen.kube.account import AccountName
    from linen.kube.nodes import NodeRecord, OwnNode
    from linen.netlink.monitor import Monitor
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.kubernetes")


@asynccontextmanager
async def connected(
    access: Access, account: AccountName | None
) -> AsyncIterator[Callable[[Settings, Monitor], KubernetesSource]]:
    """What makes a source of an API server, also for a daemon that begins anew.

    All of them have one client, and know of the own service account what the one before knew.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(access, f"flaxd/{linen.__version__}"))
        own = None
        if account is not None:
            own = await stack.enter_async_context(OwnAccount(client, account))
        yield lambda settings, monitor: KubernetesSource(client, settings, monitor, own)


class KubernetesSource:
    """The nodes from an API server. `monitor`: where this node's own addresses are seen.

    `account`: the daemon's own, which is being followed; None where nobody follows it.
    Whatever may change a view sets one event, and each look that follows settles anew what this
    node is, once, for all who are told of it.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        monitor: Monitor,
        account: OwnAccount | None = None,
    ) -> None:
        self._settings = settings
        self._monitor = monitor
        self._client = client
        self._wake = asyncio.Event()
        self._all: Watch[NodeRecord] = Watch(self._client, parse_record, self._wake.set)
        self._own: Watch[OwnNode] = Watch(
            self._client, parse_own, self._wake.set, only=settings.node
        )
        # Of the other nodes: what the records of `_all` say.
        self._peers: dict[str, cluster.Peer] = {}
        self._node_faults: dict[str, str] = {}
        self._vtep = vteps.Held(self._wake.set)
        # What the last look has settled of this node.
        self._own_peer: cluster.Peer | None = None
        self._service_faults: list[str] = []
        self._writer = NodeWriter(self._client, settings, self._own_node)
        self._account = account
        if account is not None:
            account.on_change = self._wake.set
        self._is_first = True  # the next view: it is another than the one kept on disk
        self._complaint = ""

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
        self._writer.report(waiting, faults)

    async def run(self, on_view: Learn) -> None:
        """Call `on_view` with each new view of the cluster, until cancelled.

        Raises `Removed`, in a group, when Linen is taken off the cluster.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._all.run(), name="nodes")
            tasks.create_task(self._own.run(), name="own node")
            if self._account is not None:
                tasks.create_task(self._account.run(), name="service account")
                tasks.create_task(self._go_with(self._account), name="removal")
            tasks.create_task(self._look_for_ever(on_view), name="news")
            self._writer.start(tasks)
            tasks.create_task(self._watch_kernel(), name="kernel's settings")

    async def part(self) -> None:
        """Learn whether the daemon ends because Linen is taken off; raises `Removed` if so."""
        if self._account is not None and await self._account.ends():
            await self._writer.withdraw()
            raise Removed

    async def _watch_kernel(self) -> None:
        """Look again when the kernel's settings are no longer as the last look has told them."""
        while True:
            if self._find_service_faults() != self._service_faults:
                self._wake.set()
            await asyncio.sleep(bridge_netfilter.PAUSE)

    async def _go_with(self, account: OwnAccount) -> None:
        await account.wait_for_removal()
        await self._writer.withdraw()
        raise Removed

    async def _look_for_ever(self, on_view: Learn) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._complain()
            if self._all.synced and self._own.synced:
                self._look(on_view)

    def _look(self, on_view: Learn) -> None:
        """Settle what this node is, and tell it and the others: the daemon, and the API server."""
        node = self._own_node()
        self._own_peer = self._settle_own_peer(node)
        self._service_faults = self._find_service_faults()
        self._tell(on_view, node)
        self._writer.consider(self._own_peer, node)

    def _complain(self) -> None:
        """Log each new problem, also one of the account's: nodes are up to date without that."""
        problem = self.problem or (self._account.problem if self._account else "")
        if problem not in {self._complaint, NOT_CONNECTED}:
            self._complaint = problem
            log.warning("API server: %s", problem or "connected again")

    def _tell(self, on_view: Learn, node: OwnNode | None) -> None:
        """Tell the cluster's nodes, and which may be others than the last time."""
        names, self._all.news = self._all.news, set()
        for name in names:
            self._follow(name)
        own, nodes = self._own_peer, dict(self._peers)
        if own is not None:
            own = nodes[own.name] = self._placed(own)
        faults = sorted(self._node_faults.values())
        faults += self._vtep_faults(node) + self._master_faults(node) + self._service_faults
        view = cluster.View(own, nodes, faults=faults)
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
        return pod_network.moved(peer, self._settings.cluster_range)

    def _own_node(self) -> OwnNode | None:
        """The own Node as it was last read; None while there is none."""
        return self._own.records.get(self._settings.node)

    def _find_service_faults(self) -> list[str]:
        """What keeps services' answers from pods: none are expected where there is no gateway."""
        own = self._own_peer
        if own is None or self._settings.gateway == GATEWAY_NONE:
            return []
        return bridge_netfilter.faults(own.ranges)

    def _settle_own_peer(self, node: OwnNode | None) -> cluster.Peer | None:
        """What this node is to others from now on; None while it has no tunnel address.

        A change of state: an address that has gone is held from here on, and only for a while.
        """
        if node is None:
            return None
        told = self._told_by_another(node)
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

    def _told_by_another(self, node: OwnNode) -> cluster.Peer | None:
        """This node, as the daemon of the cluster's network tells it; None if that is for us to do.

        A secondary network's tunnels end where the first one's do. If its daemon chose as well, and
        chose otherwise, the two would write for ever. So what the Node said when it was read is
        never changed: the watch of all Nodes, which may be behind, has no say in this.
        """
        told = node.told
        if self._settings.gateway != GATEWAY_NONE or told is None:
            return None
        return told if self._monitor.links_with(told.vtep) else None

    def _candidates(self, node: OwnNode) -> list[str]:
        return vteps.candidates(self._settings, self._monitor, node.vteps)

    def _vtep_faults(self, node: OwnNode | None) -> list[str]:
        if node is None or self._own_peer is not None:
            return []
        fault = vteps.fault(self._settings, self._candidates(node))
        return [fault] if fault else []

    def _master_faults(self, node: OwnNode | None) -> list[str]:
        """That an administrator's conflist alone takes this node for a star's master.

        Others believe a Node's label: its daemon's token can say much of the node, but not that.
        """
        overlay = self._settings.overlay
        is_star = overlay.topology == model.TOPOLOGY_STAR
        if node is None or node.is_master or not (is_star and overlay.is_master):
            return []
        label = f"`kubectl label node {node.name} {MASTER}=true`"
        said = "is no master although its conflist says isMaster"
        return [f"node {node.name} {said}: in Kubernetes a label decides: {label}"]
