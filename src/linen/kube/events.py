# SPDX-License-Identifier: Apache-2.0
"""Events about a Node (events.k8s.io/v1), for `kubectl describe node` and `kubectl get events`.

What repeats becomes a series: the first time an Event is made, then it is counted, and the count is
written once in a while. So a fault that comes back every second costs the API server a write in
five minutes, and an administrator one line.

What is ever new is limited: texts have names and numbers of other nodes in them and what these say,
each daemon of the cluster has much the same to tell, and Nodes can be hostile. As with client-go's
EventSourceObjectSpamFilter (tools/record/events_cache.go), a daemon writes 25 times and then once
in five minutes. There that is counted for each source and object, here also for each reason, so
that a node's own outage is told of whatever the faults of others have used up.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from linen.kube import errors
from linen.kube.client import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.kube.client import Client
    from linen.kube.nodes import OwnNode

# Events about what is in no namespace live in this one (pkg/apis/core/validation/events.go).
NAMESPACE = "default"
EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
CONTROLLER = "linen-cni/flaxd"
LONGEST_NOTE = 1024  # bytes; also in pkg/apis/core/validation/events.go
BETWEEN_WRITES = timedelta(minutes=5)
BURST = 25  # writes of one reason at once; then there is one more every `BETWEEN_WRITES`
FORGOTTEN_AFTER = timedelta(minutes=55)  # the API server drops Events after an hour by default
MOST_REMEMBERED = 256  # different Events; what Nodes say can go into notes, and Nodes are hostile

Kind = Literal["Normal", "Warning"]


@dataclass(slots=True)
class _Series:
    name: str  # of the Event object
    first: datetime
    written: datetime
    count: int = 1


class _Bucket:
    """How many writes there may be: `BURST`, of which each one taken comes back in its time."""

    def __init__(self, now: datetime) -> None:
        self.is_dry = False  # whether something was left out since the last write
        self._writes = float(BURST)
        self._filled = now

    def has(self, now: datetime) -> bool:
        """Whether there may be a write now."""
        passed = max(now - self._filled, timedelta())  # clocks are also set back
        self._writes = min(BURST, self._writes + passed / BETWEEN_WRITES)
        self._filled = now
        return self._writes >= 1

    def take(self) -> None:
        """A write has succeeded: attempts cost nothing, their number is for others to limit."""
        self._writes -= 1
        self.is_dry = False


class Recorder:
    """Emits the Events of one daemon.

    `on_dry`: called with a reason whose Events begin to be left out; again only after there was a
    write of that reason.
    """

    def __init__(
        self,
        client: Client,
        on_dry: Callable[[str], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._on_dry = on_dry
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    async def emit(self, node: OwnNode, kind: Kind, reason: str, note: str) -> None:
        """Say that something happened to `node`, or leave it out. Raises `KubernetesError`.

        `reason`: one word in CamelCase, of a few. `note`: a sentence for people.
        """
        now = self._clock()
        bucket = self._buckets.setdefault(reason, _Bucket(now))
        key = (node.uid, kind, reason, note)
        series = self._series.get(key)
        if series is not None and now - series.first < FORGOTTEN_AFTER:
            series.count += 1
            if now - series.written < BETWEEN_WRITES or not bucket.has(now):
                return
            if await self._wrote(series, now):
                bucket.take()
                return
        elif not bucket.has(now):
            self._leave_out(bucket, reason)
            return
        name = f"{node.name[:200]}.{uuid.uuid4().hex[:16]}"
        await self._client.post(EVENTS, render_event(node, name, (kind, reason, note), now))
        bucket.take()
        self._series[key] = _Series(name, first=now, written=now)
        self._series.move_to_end(key)
        while len(self._series) > MOST_REMEMBERED:
            self._series.popitem(last=False)

    def _leave_out(self, bucket: _Bucket, reason: str) -> None:
        if not bucket.is_dry:
            bucket.is_dry = True
            self._on_dry(reason)

    async def _wrote(self, series: _Series, now: datetime) -> bool:
        """Write the count; False if the Event is gone."""
        patch = {"series": {"count": series.count, "lastObservedTime": _micro_time(now)}}
        try:
            await self._client.patch(f"{EVENTS}/{series.name}", patch, MERGE_PATCH)
        except errors.ApiRefused as refused:
            if refused.status != 404:
                raise
            return False
        series.written = now
        return True


def render_event(
    node: OwnNode, name: str, what: tuple[Kind, str, str], now: datetime
) -> dict[str, Any]:
    """The Event object `name` of `what`, its kind, reason and note, about `node`."""
    kind, reason, note = what
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "eventTime": _micro_time(now),
        "type": kind,
        "reason": reason,
        "note": note.encode()[:LONGEST_NOTE].decode(errors="ignore"),
        "action": "Reconcile",
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid},
        "reportingController": CONTROLLER,
        "reportingInstance": node.name[:128],
    }


def _micro_time(moment: datetime) -> str:
    """RFC 3339 with microseconds, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
