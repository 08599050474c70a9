# SPDX-License-Identifier: Apache-2.0
"""Linen off this node, because it was taken off the cluster.

A daemon that only ends leaves everything as it is. One whose installation was deleted removes what
is ours on its node, as `linenctl uninstall` does, and then waits to be ended.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from linen.host.errors import HostError
from linen.host.uninstall import DaemonsPart, Report, uninstall

if TYPE_CHECKING:
    from linen.settings.table import Settings

log = logging.getLogger("flaxd.removal")

PATIENCE = 12.0  # seconds
PAUSE = 0.5  # seconds between attempts


class Removed(Exception):
    """Linen was taken off the cluster."""


async def take_off(settings: Settings) -> None:
    """Remove what is ours on this node; what could not be removed is logged."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        report = await asyncio.to_thread(_attempt, settings)
        for thing in report.removed:
            log.info("removed: %s", thing)
        if not report.failed or loop.time() > deadline:
            break
        await asyncio.sleep(PAUSE)
    for thing in report.stays:
        log.warning("stays: %s", thing)


def _attempt(settings: Settings) -> Report:
    try:
        return uninstall(
            settings.bin_dir,
            settings.conflist.parent,
            settings.state_dir,
            only=DaemonsPart(settings.conflist, settings.network, settings.overlay.ovsdb),
        )
    except (HostError, OSError) as error:
        return Report(stays=[str(error)], failed=True)
