# SPDX-License-Identifier: Apache-2.0
"""How often the daemon tries what keeps failing, while much else happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from linen.flaxd import daemon
from linen.flaxd.kubernetes import KubernetesSource
from linen.host.errors import HostError
from linen.kube.access import Access
from linen.kube.client import Client
from linen.settings.table import load
from support.notices import Notice, running

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CHANGES = 100
PAUSE = 0.02  # seconds, and never less than half of it
SPELL = 0.5  # seconds in which attempts are counted


class InVain(daemon.Daemon):
    """A daemon to which something is in the way. `attempted`: told whenever it has met that."""

    attempted: Notice

    async def _reconcile(self) -> str:
        self.attempted()
        raise HostError("something is in the way")


def test_changes_while_attempts_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change is a reason to try at once, and no reason for further attempts later on."""
    monkeypatch.setattr(daemon, "LONGEST_PAUSE", PAUSE)
    given = {"node": "n0", "state-dir": str(tmp_path), "gateway": "none"}
    chosen = load(given, {}, None)

    async def body() -> None:
        client = Client(Access("https://[::1]:1"), "linen-tests")
        failing = InVain(chosen, chosen, lambda m: KubernetesSource(client, chosen, m))
        failing.attempted = attempted = Notice()
        clock = asyncio.get_running_loop().time
        async with running(failing._reconcile_for_ever()):
            for number in range(1, CHANGES + 1):
                failing._changed()
                await attempted.until(lambda: attempted.calls >= number, "an attempt")  # noqa: B023
            before, began = attempted.calls, clock()
            await asyncio.sleep(SPELL)
            lasted = clock() - began
            assert 1 <= attempted.calls - before <= lasted / (PAUSE / 2) + 1

    asyncio.run(body())
