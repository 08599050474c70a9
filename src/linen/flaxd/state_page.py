# SPDX-License-Identifier: Apache-2.0
"""All that the daemon knows and means to do, as plain data: the page /state. Pure."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import linen
from linen.core import explain, model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.core import cluster
    from linen.flaxd.health import PeerHealth
    from linen.flaxd.reconcile import Decision
    from linen.flaxd.rules import Counts
    from linen.light.json import Json
    from linen.settings.table import Settings

# Options of Open vSwitch's tunnels whose values are nobody's business.
SECRET_OPTIONS = frozenset({"psk", "private_key"})
HIDDEN = "(hidden)"


class Status(NamedTuple):
    """What the daemon says of itself, one sentence each.

    `waiting`: why the overlay does not work. `faults`: what is wrong besides.
    `notes`: what else is to be known: why there are no probes, why the list of nodes is old…
    `rules`: how many of topology flow's there are; None in another.
    """

    waiting: Sequence[str]
    faults: Sequence[str]
    notes: Sequence[str]
    rules: Counts | None


def document(
    settings: Settings,
    view: cluster.View | None,
    decision: Decision,
    peers: Sequence[PeerHealth],
    status: Status,
) -> Json:
    """The state as data for json.dumps."""
    plan = decision.plan
    return {
        "versions": {"linen": linen.__version__, "python": platform.python_version()},
        "settings": plain(settings),
        "view": plain(view),
        "desired": plain(plan.spec if plan else None),
        "observed": plain(plan.seen if plan else None),
        "plan": explain.faults(plan.spec.bridge, plan.steps) if plan else [],
        "waiting": list(status.waiting),
        "faults": list(status.faults),
        "notes": list(status.notes),
        "peers": [plain(health) for health in peers],
        "rules": plain(status.rules),
    }


def plain(value: object) -> Json:
    """A value of ours as data: fields by name, secrets hidden."""
    names = _field_names(value)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {k: HIDDEN if k in SECRET_OPTIONS else plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(part) for part in value]
        case frozenset():
            return sorted(value)
        case Path():
            return str(value)
    raise TypeError(f"{type(value).__name__} cannot be shown")


def _field_names(value: object) -> Sequence[str] | None:
    if isinstance(value, model.Value):
        return value.__slots__
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return None
