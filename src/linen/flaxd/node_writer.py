# SPDX-License-Identifier: Apache-2.0
"""What this node tells Kubernetes of itself.

Written are the own Node's annotations, by which other nodes know this one, its condition
NetworkUnavailable, by which the scheduler does, and Events for what an administrator must know.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from linen import streams
from linen.kube import errors, patches
from linen.kube.client import MERGE_PATCH, STRATEGIC_PATCH
from linen.kube.events import Recorder
from linen.kube.watch import NODES
from linen.settings.table import GATEWAY_NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linen.core.cluster import Peer
    from linen.kube.client import Client
    from linen.kube.nodes import OwnNode
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.kubernetes")

GRACE = 10.0  # seconds that a working overlay may fail before the scheduler is told
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between attempts to write
LAST_WORDS = 5.0  # seconds for what an ending daemon still wants to tell


class NodeWriter:
    """Writes whatever the own Node does not say yet, in one task, which retries what fails.

    `find_node`: gives the own Node as it was last read; None while there is none. Whoever reads it
    calls `consider` with it each time that it is another one.
    """

    def __init__(
        self, client: Client, settings: Settings, find_node: Callable[[], OwnNode | None]
    ) -> None:
        self._client = client
        self._settings = settings
        self._find_node = find_node
        self._events = Recorder(client, _tell_of_drought)
        self._peer: Peer | None = None
        self._node: OwnNode | None = None  # the own Node by which it was settled what `_peer` is
        # Whether `_peer` counts: before it was settled, None would be taken for "no more".
        self._is_settled = asyncio.Event()
        self._waiting: Sequence[str] | None = None  # None until the daemon has said something
        self._waiting_since = 0.0
        self._faults: tuple[str, ...] = ()
        self._reported: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None  # the only one that writes, but at the end
        self._to_write = asyncio.Event()  # that there may be something
        self._retry = streams.Retry(self._to_write.set, SHORTEST_PAUSE, LONGEST_PAUSE)
        self._was_away = False  # whether the last attempt to write failed for want of an answer

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Write from the first `consider` on, until cancelled or `withdraw`."""
        self._task = tasks.create_task(self._write_for_ever(), name="publication")

    def consider(self, peer: Peer | None, node: OwnNode | None) -> None:
        """Look again at what there is to write, where this node is `peer`; None: it is none.

        `node`: the own Node by which that was settled. By a later one nothing is written: what it
        says may be the reason for another `peer`.
        """
        self._peer, self._node = peer, node
        self._is_settled.set()
        self._to_write.set()

    def report(self, waiting: Sequence[str], faults: Sequence[str]) -> None:
        """Take note why this node's overlay does not work (nothing: it does), and of its faults."""
        loop = asyncio.get_running_loop()
        if waiting and not self._waiting:
            self._waiting_since = loop.time()
            loop.call_later(GRACE, self._to_write.set)
        self._waiting, self._faults = waiting, tuple(faults)
        self._to_write.set()

    async def withdraw(self) -> None:
        """Take back what the own Node says of us, at once: our rights are about to go, too.

        Whatever is being written is given up, and nothing is written any more. What could not be
        taken back is logged.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        node = self._find_node()
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

    async def _write_for_ever(self) -> None:
        """Write whatever there is to write, apart from all else: it may take its time, or hang."""
        await self._is_settled.wait()
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
        """Write what differs; that it has arrived is told by the next `consider`."""
        node = self._node
        if node is None:
            return
        path = f"{NODES}/{node.name}"
        publication = patches.publication(node, self._peer)
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
