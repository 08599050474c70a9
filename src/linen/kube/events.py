# SPDX-License-Identifier: Apache-2.0
"""Events about a Node (events.k8s.io/v1), for `kubectl describe node` and `kubectl get events`.

What repeats becomes a series: the first time an Event is made, then it is counted, and the count is
written once in a while. So a fault that comes back every second costs the API server a write in
five minutes, and an administrator one line.
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
FORGOTTEN_AFTER = timedelta(minutes=55)  # the API server drops Events after an hour by default
MOST_REMEMBERED = 256  # different Events; what Nodes say can go into notes, and Nodes are hostile

Kind = Literal["Normal", "Warning"]


@dataclass(slots=True)
class _Series:
    name: str  # of the Event object
    first: datetime
    written: datetime
    count: int = 1


class Recorder:
    """Emits the Events of one daemon."""

    def __init__(
        self, client: Client, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._clock = clock
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    async def emit(self, node: OwnNode, kind: Kind, reason: str, note: str) -> None:
        """Say that something happened to `node`. Raises `KubernetesError`.

        `reason`: one word in CamelCase. `note`: a sentence for people.
        """
        now = self._clock()
        key = (node.uid, kind, reason, note)
        series = self._series.get(key)
        if series is not None and now - series.first < FORGOTTEN_AFTER:
            series.count += 1
            if now - series.written < BETWEEN_WRITES or await self._wrote(series, now):
                return
        name = f"{node.name[:200]}.{uuid.uuid4().hex[:16]}"
        await self._client.post(EVENTS, render_event(node, name, (kind, reason, note), now))
        self._series[key] = _Series(name, first=now, written=now)
        self._series.move_to_end(key)
        while len(self._series) > MOST_REMEMBERED:
            self._series.popitem(last=False)

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
