# SPDX-License-Identifier: Apache-2.0
"""A replica of the cluster's Nodes, or of one object, that is kept up to date.

A full list, in pages, and from its revision on a watch. A watch that ends, as each does after some
minutes, is resumed from the last revision seen, for which bookmarks keep that one recent. Where the
server has forgotten that revision (410), as each has that was restarted, the list is read anew, and
soon; and so it is after a silence, the one sign of a revision that the server has not come to yet.
A list replaces everything: whoever was deleted while nobody watched is gone. After failures the
next attempt waits, longer each time and never twice equally long, so that a cluster of daemons does
not return all at once; and the more Nodes there are, the more time they take to list them anew. A
server that was away and has served another request of this daemon is not waited for any longer.

What others need of an object is a record. A Node that changes without its record changing, as
with each of its heartbeats, is nobody's business.
(https://kubernetes.io/docs/reference/using-api/api-concepts/, "Efficient detection of changes")
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from linen import streams
from linen.kube import errors
from linen.kube.client import JSON, refusal
from linen.kube.objects import mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.kube.client import Client

NODES = "/api/v1/nodes"
# Names, labels and annotations of objects: a tenth of a whole Node.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Record(Protocol):
    """What a watch keeps of an object; it compares by value."""

    @property
    def name(self) -> str:
        """The object's name."""


R = TypeVar("R", bound=Record)

NOT_CONNECTED = "not connected yet"  # the problem of a watch that has not begun
LISTS_A_SECOND = 500  # by all daemons, where each of as many as there are Nodes needs one
MOST_REFUSALS = 3  # in a row that the server answers, until the list is read anew


@dataclass(frozen=True, slots=True)
class Pace:
    """How a watch behaves in time. All in seconds but `page`."""

    page: int = 500
    """Objects per page of a list; what client-go and kubectl ask for."""
    longest_watch: float = 600
    """A watch lasts between half of this and all of it: servers balance their load by that."""
    silence: float = 150
    """Without a byte for so long the server is gone: it sends a bookmark about every minute."""
    first_pause: float = 0.1
    """Before the second attempt; doubled with each further one."""
    longest_pause: float = 30
    """Between attempts, however long the server is away."""
    steady: float = 5
    """A watch that was open for so long counts as one that worked."""


class Watch(Generic[R]):
    """The records of all objects of a collection that `run` keeps up to date, by name.

    `parse`: makes an object its record, and never raises; None leaves the object out. It is given
    the record of that name before, if there is one, and may return that.
    `on_change`: called after each batch of changes to `records`, when they are complete for the
    first time, and whenever `problem` changes. It should only set an event.
    `collection`: the path of the objects. `only`: the name of the one object to watch, whole;
    otherwise it is the metadata of all.
    """

    def __init__(
        self,
        client: Client,
        parse: Callable[[Any, R | None], R | None],
        on_change: Callable[[], None],
        *,
        collection: str = NODES,
        only: str = "",
        pace: Pace | None = None,
    ) -> None:
        self.records: dict[str, R] = {}
        self.news: set[str] = set()  # whose record is another since somebody emptied this
        self.synced = False  # whether `records` once were all there are
        self.problem = NOT_CONNECTED  # why `records` may be out of date; "" while they aren't
        self.stale_since: float | None = time.monotonic()  # None while they aren't
        # Full lists read so far. For tests, which see no other difference between a watch that was
        # resumed and one that began anew.
        self.lists = 0
        self._client = client
        self._collection = collection
        self._parse = parse
        self._on_change = on_change
        self._pace = pace or Pace()
        self._selector = {"fieldSelector": f"metadata.name={only}"} if only else {}
        self._accept, self._accept_list = (JSON, JSON) if only else (METADATA, METADATA_LIST)
        self._revision = ""  # where to resume; empty if a list is due
        self._failures = 0  # attempts in a row that came to nothing
        self._refusals = 0  # those of them that the server answered
        self._has_hurried = False  # since a watch worked
        self._has_expired = False  # since a watch worked
        self._opened = math.inf  # loop's time when this attempt's watch was opened; inf until then

    async def run(self) -> None:
        """Keep the records up to date until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._opened = math.inf
            retry_after = 0.0
            try:
                if not self._revision:
                    await self._list()
                await self._follow()
                reason = None
            except errors.KubernetesError as error:
                reason = error
                retry_after = errors.pause_asked_for(error)
            self._judge(reason, lasted=max(0.0, loop.time() - self._opened))
            await asyncio.sleep(retry_after)
            await self._rest(self._pause() - retry_after)

    async def _rest(self, seconds: float) -> None:
        """Wait, but only until a server that was away is back; the next pause is a whole one."""
        if self._has_hurried or self._client.works.is_set():
            await asyncio.sleep(seconds)
            return
        if await streams.is_set_within(self._client.works, seconds):
            self._has_hurried = True

    def _judge(self, reason: errors.KubernetesError | None, *, lasted: float) -> None:
        """Learn from an attempt that ended, because of `reason` or as watches do.

        `lasted`: seconds that its watch was open: who waits for a connection does not watch.
        """
        if lasted > self._pace.steady:
            self._failures = self._refusals = 0
            self._has_hurried = self._has_expired = False
        if reason is None and lasted > self._pace.steady:
            return
        if isinstance(reason, errors.Expired) and not self._has_expired:
            # Each server that was restarted has forgotten it, and is there again. Who waited any
            # longer because it was away would be out of date for that time.
            self._has_expired = True
            self._failures = 0
        self._failures += 1
        if isinstance(reason, errors.ApiRefused | errors.ApiUnavailable) and reason.status:
            self._refusals += 1
        # A revision that is not forgotten can still be useless: an etcd that was restored from a
        # backup has not come so far yet. The API server takes such a watch, and drops from it all
        # events and bookmarks up to that revision (cacheWatcher.process in k8s.io/apiserver,
        # pkg/storage/cacher/cache_watcher.go), so silence is all that can be seen of it. Whatever
        # else keeps a server from resuming, it may still have a list.
        is_useless = isinstance(reason, errors.Expired | errors.Silent)
        if is_useless or self._refusals > MOST_REFUSALS:
            self._revision = ""
            self._refusals = 0
        if reason is not None:
            self._set_problem(str(reason))

    def _pause(self) -> float:
        """Seconds until the next attempt; more of them where all objects have to be listed anew.

        A server that is restarted has forgotten everybody's revision, and a list of all Nodes is as
        long as there are daemons to ask for one.
        """
        spread = 0.0 if self._revision else len(self.records) / LISTS_A_SECOND
        pause = streams.pause(self._failures, self._pace.first_pause, self._pace.longest_pause)
        return pause + random.uniform(0, spread)  # noqa: S311  (spreads load, guards nothing)

    async def _list(self) -> None:
        """Replace all records by those of a full list."""
        found: dict[str, R] = {}
        revision = following = ""
        while True:
            params = {"limit": str(self._pace.page), **self._selector}
            if following:
                params["continue"] = following
            page = await self._client.get(self._collection, params, accept=self._accept_list)
            for item in page.get("items") or []:
                record = self._record_of(item)
                if record is not None:
                    found[record.name] = record
            about = mapping(page, "metadata")
            revision = revision or str(about.get("resourceVersion") or "")
            following = str(about.get("continue") or "")
            if not following:
                break
        if not revision:
            raise errors.ApiUnavailable(f"GET {self._collection}: a list without a resourceVersion")
        self._revision = revision
        self.lists += 1
        before, self.records = self.records, found
        news = {name for name, record in found.items() if before.get(name) != record}
        news |= before.keys() - found.keys()
        self.news |= news
        is_first, self.synced = not self.synced, True
        if news or is_first:
            self._on_change()

    async def _follow(self) -> None:
        """Apply what happens since the last revision, until the server ends the watch."""
        longest = self._pace.longest_watch
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._revision,
            "timeoutSeconds": str(max(1, int(random.uniform(longest / 2, longest)))),  # noqa: S311
            **self._selector,
        }
        opened = self._client.stream(
            self._collection, params, accept=self._accept, silence=self._pace.silence
        )
        async with opened as batches:
            self._opened = asyncio.get_running_loop().time()
            self._set_problem("")
            async for batch in batches:
                self._apply_all(batch)

    def _apply_all(self, batch: list[dict[str, Any]]) -> None:
        changed = False
        try:
            for event in batch:
                changed = self._apply(event) or changed
        finally:  # an ERROR, which is the last of its batch, takes nothing back
            if changed:
                self._on_change()

    def _apply(self, event: dict[str, Any]) -> bool:
        """Whether an event of the watch changed a record."""
        kind, found = event.get("type"), mapping(event, "object")
        if kind == "ERROR":
            code = found.get("code")
            text = f"watching {self._collection}: {found.get('message')}"
            raise refusal(code if isinstance(code, int) else 500, text)
        revision = mapping(found, "metadata").get("resourceVersion")
        if isinstance(revision, str) and revision:
            self._revision = revision
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            return False  # BOOKMARK: its revision is all there is to it
        record = self._record_of(found)
        if record is None:
            return False
        before = self.records.get(record.name)
        if kind == "DELETED":
            self.records.pop(record.name, None)
        else:
            self.records[record.name] = record
        if self.records.get(record.name) == before:
            return False
        self.news.add(record.name)
        return True

    def _record_of(self, found: Any) -> R | None:  # noqa: ANN401 (JSON as it comes)
        name = mapping(found, "metadata").get("name")
        return self._parse(found, self.records.get(name) if isinstance(name, str) else None)

    def _set_problem(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.stale_since = (self.stale_since or time.monotonic()) if problem else None
        self.problem = problem
        self._on_change()
