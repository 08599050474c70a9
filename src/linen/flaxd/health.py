# SPDX-License-Identifier: Apache-2.0
"""How each peer can be reached, in one word and a sentence. Pure.

Three witnesses: Open vSwitch says whether the tunnel is there, BFD whether the peer's Open vSwitch
answers through it, and the probe whether the pod network behind it does. Where two of them
disagree, the fault lies between what they look at.

What Open vSwitch 3.1 says of BFD was looked up on a live pair: a peer that has never spoken it
leaves `flap_count` at 0, one that was lost leaves the diagnostic "Control Detection Time Expired".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from linen.core import model, observed
from linen.core.notation import includes, optional, pairs, select, to_map
from linen.flaxd import probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from linen.core.cluster import Peer
    from linen.flaxd.probe import Result
    from linen.light.json import Json

UP, DEGRADED, DOWN, UNKNOWN = "up", "degraded", "down", "unknown"
STATES = (UP, DEGRADED, DOWN, UNKNOWN)

PRESENT, PENDING, REFUSED, MISSING = "present", "pending", "refused", "missing"
OFF = "off"

INTERFACE_COLUMNS = ("name", "options", "ofport", "error", "bfd", "bfd_status")


@dataclass(frozen=True, slots=True)
class PeerHealth:
    """One peer.

    `tunnel`: present, pending (ovs-vswitchd is to make it yet), refused or missing.
    `bfd`: up, down, unknown (the peer has never spoken it) or off (on this node).
    `probe`: the worst verdict of `results`, or off where there are none.
    `state`: up, degraded (it works, with faults), down or unknown. `reason`: a sentence.
    """

    peer: str
    vtep: str
    port: str
    tunnel: str
    bfd: str
    probe: str
    state: str
    reason: str
    results: tuple[Result, ...]


def question(network: str, maker: str) -> Json:
    """The operation whose rows `assess` understands."""
    marked = includes("external_ids", to_map(observed.ownership(network, maker)))
    return select("Interface", marked, INTERFACE_COLUMNS)


def assess(
    peers: Iterable[Peer], rows: Iterable[Json], results: Mapping[str, Sequence[Result]]
) -> list[PeerHealth]:
    """The health of each of `peers`, which are those that there should be a tunnel to.

    `rows`: of Interface, in OVSDB's notation. `results`: of the probe, for each peer.
    """
    by_vtep = {pairs(row["options"]).get("remote_ip"): row for row in rows}
    to_all = by_vtep.get(model.REMOTE_BY_RULE)
    return [
        _assess(peer, by_vtep.get(peer.vtep, to_all), results.get(peer.name, ())) for peer in peers
    ]


def _assess(peer: Peer, row: Json | None, results: Sequence[Result]) -> PeerHealth:
    verdicts = {result.verdict for result in results}
    worst = max(verdicts, key=probe.VERDICTS.index, default=OFF)
    bfd = _bfd(row) if row is not None else OFF
    tunnel, trouble = _tunnel(peer, row)
    if trouble:
        state, reason = (UNKNOWN if tunnel == PENDING else DOWN), trouble
    else:
        state, template = JUDGEMENTS[bfd, worst]
        worst_of = next((r.address for r in results if r.verdict == worst), "")
        reason = template.format(peer=peer.name, address=worst_of) + _hint(bfd, row)
    return PeerHealth(
        peer=peer.name,
        vtep=peer.vtep,
        port=row["name"] if row is not None else "",
        tunnel=tunnel,
        bfd=bfd,
        probe=worst,
        state=state,
        reason=reason,
        results=tuple(results),
    )


def _tunnel(peer: Peer, row: Json | None) -> tuple[str, str]:
    """How the tunnel is, and what is wrong with it."""
    if row is None:
        return MISSING, f"there is no tunnel to {peer.vtep} (yet)"
    ofport = optional(row["ofport"])
    refusal = model.refusal(ofport, optional(row["error"]) or "")
    if refusal:
        return REFUSED, f"Open vSwitch refuses port {row['name']}: {refusal}"
    if ofport is None:
        return PENDING, f"ovs-vswitchd has not made port {row['name']} yet"
    return PRESENT, ""


def _bfd(row: Json) -> str:
    if pairs(row["bfd"]).get("enable") != "true":
        return OFF
    status = pairs(row["bfd_status"])
    if status.get("state") == "up" and status.get("forwarding") == "true":
        return UP
    has_spoken = status.get("state") in {"up", "init"} or status.get("flap_count", "0") != "0"
    return DOWN if has_spoken else UNKNOWN


def _hint(bfd: str, row: Json | None) -> str:
    """What the state of a session that is down tells besides."""
    if bfd != DOWN or row is None:
        return ""
    status = pairs(row["bfd_status"])
    # RFC 5880, section 6.2: Init means that we hear the peer, and it does not say that it hears us.
    if status.get("state") == "init":
        return "; packets of the peer arrive, but ours do not reach it"
    return ""


_UNDERLAY = "the underlay between the nodes, a firewall (UDP 4789 or dst-port), or {peer} itself"
_BEHIND = "the OVS bridge, the Linux bridge or a firewall on {peer}"
_NO_POD = "{address} has never answered a probe, which it can't before {peer} has its first pod"
_NOT_SPOKEN = "{peer} has never spoken BFD (an older version, or the plugin alone)"

# (BFD, probe): state, reason.
JUDGEMENTS = {
    (UP, probe.OK): (UP, "BFD is up and probes are answered"),
    (UP, probe.SILENT): (UNKNOWN, f"BFD is up; {_NO_POD}, or else look at {_BEHIND}"),
    (UP, probe.LOSS): (DEGRADED, "BFD is up, but probes of {address} get lost: an overloaded path"),
    (UP, probe.UNREACHABLE): (
        DEGRADED,
        f"BFD is up, but {{address}} answers no probe any more: look at {_BEHIND}",
    ),
    (UP, OFF): (UP, "BFD is up"),
    (DOWN, probe.OK): (
        DEGRADED,
        "BFD is down though probes are answered: {peer} no longer speaks it",
    ),
    (DOWN, probe.SILENT): (DOWN, f"BFD is down: look at {_UNDERLAY}"),
    (DOWN, probe.LOSS): (
        DEGRADED,
        f"BFD is down and probes of {{address}} get lost: look at {_UNDERLAY}",
    ),
    (DOWN, probe.UNREACHABLE): (
        DOWN,
        f"BFD is down and {{address}} answers no probe: look at {_UNDERLAY}",
    ),
    (DOWN, OFF): (DOWN, f"BFD is down: look at {_UNDERLAY}"),
    (UNKNOWN, probe.OK): (UP, f"probes are answered; {_NOT_SPOKEN}"),
    (UNKNOWN, probe.SILENT): (UNKNOWN, f"nothing has come from {{peer}} yet; {_NO_POD}"),
    (UNKNOWN, probe.LOSS): (DEGRADED, f"probes of {{address}} get lost; {_NOT_SPOKEN}"),
    (UNKNOWN, probe.UNREACHABLE): (
        DOWN,
        f"{{address}} answers no probe any more: look at {_UNDERLAY}, or at {_BEHIND}",
    ),
    (UNKNOWN, OFF): (UNKNOWN, f"there are no probes, and {_NOT_SPOKEN}"),
    (OFF, probe.OK): (UP, "probes are answered; BFD is off"),
    (OFF, probe.SILENT): (UNKNOWN, f"BFD is off, and {_NO_POD}"),
    (OFF, probe.LOSS): (DEGRADED, "probes of {address} get lost; BFD is off"),
    (OFF, probe.UNREACHABLE): (
        DOWN,
        f"{{address}} answers no probe any more: look at {_UNDERLAY}, or at {_BEHIND}",
    ),
    (OFF, OFF): (UNKNOWN, "the tunnel is there; BFD is off and there are no probes"),
}


def transitions(before: Iterable[PeerHealth], after: Iterable[PeerHealth]) -> list[PeerHealth]:
    """Those whose state is another now, for the log.

    A peer that is new and not known to be well or ill is none, nor one that has left.
    """
    known = {health.peer: health.state for health in before}
    return [health for health in after if known.get(health.peer, UNKNOWN) != health.state]


def fallen(before: Iterable[PeerHealth], after: Iterable[PeerHealth]) -> list[str]:
    """The peers whose BFD was up and is down."""
    known = {health.peer: health.bfd for health in before}
    return [one.peer for one in after if one.bfd == DOWN and known.get(one.peer) == UP]
