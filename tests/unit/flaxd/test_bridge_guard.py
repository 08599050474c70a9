# SPDX-License-Identifier: Apache-2.0
"""When the guard of learning OVS bridges has seen to them, as far as others are told."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from linen.core.model import Observed
from linen.flaxd import bridge_guard
from linen.flaxd.bridge_guard import BridgeGuard
from linen.openflow.session import visit
from linen.ovsdb.replica import Replica
from linen.settings.table import load

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TEXT = {"type": "string"}
PAIRS = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}


def replica() -> Replica:
    """A copy of an OVSDB that has the network's OVS bridge, and no tunnel yet."""
    columns = {
        "Bridge": {"name": TEXT, "external_ids": PAIRS},
        "Interface": {"type": TEXT, "options": PAIRS, "external_ids": PAIRS},
    }
    found = Replica({table: set(names) for table, names in columns.items()})
    found.learn({"tables": {table: {"columns": names} for table, names in columns.items()}})
    ours = ["map", [["linen-network", "linen-network"], ["linen-maker", "flaxd"]]]
    found.replace({"Bridge": {"row": {"initial": {"name": "br0", "external_ids": ours}}}})
    return found


def test_another_vswitchd_while_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was told that it has to see to the bridges anew is told when it has.

    Though it was looking after the old ovs-vswitchd just then, with the same outcome.
    """
    monkeypatch.setattr(bridge_guard, "visit", partial(visit, seconds=0.2))  # nobody is there
    chosen = load({"node": "node1", "ovsdb": f"unix:{tmp_path}/db.sock"}, {}, None)

    async def scenario() -> None:
        async with asyncio.timeout(3):
            told = asyncio.Event()
            guard = BridgeGuard(chosen, replica(), told.set)
            running = asyncio.create_task(guard.run())
            guard.consider(None, "first")
            await told.wait()
            assert guard.is_settled

            guard.consider(Observed(None, []), "first")
            await asyncio.sleep(0.1)  # it looks
            guard.consider(Observed(None, []), "second")
            assert not guard.is_settled
            told.clear()
            await told.wait()
            assert guard.is_settled
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(scenario())
