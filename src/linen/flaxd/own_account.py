# SPDX-License-Identifier: Apache-2.0
"""Whether Linen is still on the cluster, by the daemon's own service account.

An account that is gone says that Linen is taken off. But one that is replaced
(`kubectl replace --force`, some tools of GitOps) is gone for a moment as well, and a node without
Linen does not get it back by itself. So the account has to stay away, unless there is more to say
so: its namespace ends as well, or the daemon is told to end, as soon after `kubectl delete -k`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Self

from linen.kube import errors
from linen.kube.account import is_ending, parse_account
from linen.kube.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from linen.kube.account import Account, AccountName
    from linen.kube.client import Client

log = logging.getLogger("flaxd.kubernetes")

GRACE = 15.0  # seconds that an account may be gone, while the API server answers
# Seconds for all that an ending daemon still wants to know; with `node_writer.LAST_WORDS` and
# `removal.PATIENCE` they are less than the 30 s that Kubernetes gives a pod to end.
PARTING = 10.0


class OwnAccount:
    """Follows the account as an asynchronous context manager, whoever asks about it meanwhile.

    A daemon that begins anew could not learn whether it was there: the API server refuses the token
    of one that is gone, but goes on to serve a watch that is open.
    `on_change`: called when `problem` may be another; set by who asks.
    """

    def __init__(self, client: Client, name: AccountName) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._client = client
        self._name = name
        self._following: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._account: Watch[Account] = Watch(
            client, parse_account, self._note, collection=name.collection, only=name.name
        )
        self._was_there = False

    @property
    def problem(self) -> str:
        """Why the account is not followed; empty while it is."""
        return self._account.problem

    async def __aenter__(self) -> Self:
        """Begin to follow it."""
        self._following = asyncio.create_task(self._account.run(), name="service account")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow it no longer."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def run(self) -> None:
        """Raise what goes wrong in following it, until cancelled, after which that goes on."""
        if self._following is not None:
            await asyncio.shield(self._following)

    async def wait_for_removal(self) -> None:
        """Return once Linen is taken off the cluster."""
        while True:
            await self._until(self._is_gone)
            if await self._is_namespace_ending():
                return
            log.warning(
                "service account %s is gone; Linen goes from this node, too, unless that is back"
                " in %g s",
                self._name,
                GRACE,
            )
            if await self._stays_away():
                return
            log.warning(
                "service account %s is back, so Linen stays on this node; if the API server refuses"
                " the token of the one before, delete this pod, or wait up to an hour",
                self._name,
            )

    async def ends(self) -> bool:
        """Whether Linen is taken off the cluster, for a daemon that is told to end.

        Its account may be deleted after its pod, so its namespace tells as well. With its rights
        gone already, only the watch of the account can still tell.
        """
        if self._is_gone():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                return await self._learns_of_its_end()
        return self._is_gone()

    async def _learns_of_its_end(self) -> bool:
        try:
            return await self._ask_namespace() or self._is_gone()
        except errors.ApiRefused as error:
            log.info("its rights are gone (%s); waiting whether its account goes too", error)
            await self._until(self._is_gone)
        except (errors.KubernetesError, TimeoutError) as error:
            log.info("whether Linen is taken off the cluster is not known: %s", error)
        return self._is_gone()

    def _note(self) -> None:
        self._is_gone()
        self._news.set()
        self.on_change()

    def _is_gone(self) -> bool:
        """Whether an account that was there is gone.

        One that never was is a slip of whoever configured us.
        """
        is_there = bool(self._account.records)
        self._was_there |= is_there
        return self._account.synced and self._was_there and not is_there

    async def _stays_away(self) -> bool:
        """Whether it is gone for all of its grace.

        While the API server is away nobody knows, so that it begins anew afterwards.
        """
        while self._is_gone():
            try:
                async with asyncio.timeout(GRACE):
                    await self._until(lambda: not self._is_gone() or self.problem)
            except TimeoutError:
                return True
            await self._until(lambda: not self._is_gone() or not self.problem)
        return False

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._news.wait()
            self._news.clear()

    async def _is_namespace_ending(self) -> bool:
        try:
            return await self._ask_namespace()
        except (errors.KubernetesError, TimeoutError):
            return False  # time will tell

    async def _ask_namespace(self) -> bool:
        """Whether its namespace is being deleted. Raises `KubernetesError` and `TimeoutError`."""
        async with asyncio.timeout(PARTING):
            return is_ending(await self._client.get(self._name.home))
