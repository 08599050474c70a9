# SPDX-License-Identifier: Apache-2.0
"""When the guard of learning OVS bridges has seen to them, as far as others are told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from linen.core.model import Observed
from linen.core.notation import to_map
from linen.flaxd import bridge_guard
from linen.flaxd.bridge_guard import BridgeGuard
from linen.flaxd.local_networks import LocalNetworks
from linen.netlink.monitor import Monitor
from linen.openflow.session import visit
from linen.settings.table import load
from support.replicas import PAIRS, REFERENCES, TEXT, replica_of

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import pytest

    from linen.openflow.session import Session
    from linen.ovsdb.replica import Replica


def replica() -> Replica:
    """A copy of an OVSDB that has the network's OVS bridge, and no tunnel yet."""
    columns = {
        "Bridge": {"name": TEXT, "external_ids": PAIRS, "controller": REFERENCES},
        "Interface": {"type": TEXT, "options": PAIRS, "external_ids": PAIRS},
    }
    ours = to_map({"linen-network": "linen-network", "linen-maker": "flaxd"})
    return replica_of(
        columns, {"Bridge": [{"name": "br0", "external_ids": ours, "controller": ["set", []]}]}
    )


def test_another_vswitchd_while_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was told that it has to see to the bridges anew is told when it has.

    Though it was looking after the old ovs-vswitchd just then, with the same outcome.
    """
    looks = asyncio.Event()

    def look(path: str) -> AbstractAsyncContextManager[Session]:
        looks.set()
        return visit(path, seconds=0.2)  # nobody is there

    monkeypatch.setattr(bridge_guard, "visit", look)
    chosen = load({"node": "node1", "ovsdb": f"unix:{tmp_path}/db.sock"}, {}, None)

    async def scenario() -> None:
        async with asyncio.timeout(30):
            told = asyncio.Event()
            networks = LocalNetworks(chosen, replica(), Monitor(lambda: None))
            guard = BridgeGuard(chosen, networks, told.set)
            running = asyncio.create_task(guard.run())
            guard.consider(None, "first")
            await told.wait()
            assert guard.is_settled

            looks.clear()
            guard.consider(Observed(None, []), "first")
            await looks.wait()
            guard.consider(Observed(None, []), "second")
            assert not guard.is_settled
            told.clear()
            await told.wait()
            assert guard.is_settled
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(scenario())
