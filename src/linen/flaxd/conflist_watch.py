# SPDX-License-Identifier: Apache-2.0
"""Follows what others do to the conflist, or beside it.

The plugin does what an administrator's conflist says, so the daemon has to want the same network:
it begins anew where the file wants another one, and changes nothing where that contradicts what was
set for the daemon.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from linen.flaxd import conflist, file_changes
from linen.host.checks import folder
from linen.host.conflists import EXTENSIONS
from linen.host.errors import HostError
from linen.settings.table import GATEWAY_NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.settings.table import Settings

REST = 2.0  # seconds for which a file is away at most while somebody replaces it


class ConflistChanged(Exception):
    """An administrator's conflist wants another network by now, or is gone: that of `settings`."""

    def __init__(self, said: str, settings: Settings) -> None:
        super().__init__(said)
        self.settings = settings


class ConflistWatch:
    """Follows the conflist and its folder while `run` runs.

    `settings`: with what an administrator's conflist says; `given`: without that.
    `on_change`: called when files there may be others than before.
    `rivals`: that the runtime takes another file, and the cure.
    """

    def __init__(self, settings: Settings, given: Settings, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._given = given
        self._on_change = on_change
        self._contradictions: tuple[str, ...] = ()
        self._gone = ""  # that an administrator's conflist was there, and is no more
        self.rivals: tuple[str, ...] = ()

    @property
    def objections(self) -> tuple[str, ...]:
        """Why nobody knows which network is wanted; empty while that is clear."""
        return (*self._contradictions, self._gone) if self._gone else self._contradictions

    async def run(self) -> None:
        """Notice when the conflist is changed or removed, or another one comes or goes.

        Raises `ConflistChanged`, and `HostError` where there can be no such folder.
        """
        conflist_folder = self._settings.conflist.parent
        try:
            conflist_folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(
                f"{conflist_folder} cannot be made: {error.strerror}",
                "choose another one with --conflist; in a pod LINEN_CONFLIST has to be in a folder"
                " that is mounted",
            ) from None
        async for _ in file_changes.in_folder(conflist_folder, *EXTENSIONS):
            self._look()
            if self._gone:
                await asyncio.sleep(REST)
                self._look()
            if self._gone:
                raise ConflistChanged(self._gone, self._given)

    def _look(self) -> None:
        self._compare()
        self.rivals = self._find_rivals()
        self._on_change()

    def _compare(self) -> None:
        """Hold an administrator's conflist against the settings.

        A file that cannot be read may be half written: who writes ours tells of one that stays so.
        Raises `ConflistChanged`.
        """
        path = self._settings.conflist
        self._gone = ""
        try:
            theirs = conflist.read_administrators(path)
        except HostError:
            return
        if theirs is None:
            self._contradictions = ()
            if self._settings != self._given:
                self._gone = f"{path} no longer is an administrator's"
            return
        adopted, faults = conflist.adopt(self._given, theirs)
        self._contradictions = tuple(faults)
        if not faults and adopted != self._settings:
            raise ConflistChanged(f"{path} wants another network than before", adopted)

    def _find_rivals(self) -> tuple[str, ...]:
        if self._settings.gateway == GATEWAY_NONE:  # Multus finds a secondary network by its name
            return ()
        found = folder.first_file(folder.read_folder(self._settings.conflist.parent))
        return tuple(f"{finding.where}: {finding.what}: {finding.cure}" for finding in found)
