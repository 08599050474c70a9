# SPDX-License-Identifier: Apache-2.0
"""Keeps this node's conflist, by which pods are let in."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from linen import streams
from linen.flaxd import conflist, pod_network
from linen.host.conflists import LINEN, is_managed
from linen.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.core import cluster
    from linen.flaxd.underlay import Underlay
    from linen.settings.table import Settings

log = logging.getLogger("flaxd")

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between looks for a plugin that is missing


class NodeConflist:
    """Writes the conflist, and again when somebody has changed it; an administrator's stays.

    `on_change`: called when what kept it from being written may be over.
    `mtu`: bytes of a pod's packet by the conflist that is there; None where that isn't ours.
    """

    def __init__(
        self, settings: Settings, underlay: Underlay, on_change: Callable[[], None]
    ) -> None:
        self.mtu: int | None = None
        self._settings = settings
        self._underlay = underlay
        self._retry = streams.Retry(on_change, SHORTEST_PAUSE, LONGEST_PAUSE)
        self._cni_versions: list[str] = []
        self._has_written = False

    def ensure(self, view: cluster.View | None) -> tuple[str, ...]:
        """Write the conflist if it isn't there or isn't right; why it could not be written.

        To be called while the overlay works: a runtime takes a node with a conflist for ready.
        Raises `FolderRemoved` where its folder was.
        """
        self.mtu = None
        settings = self._settings
        if view is None or view.own is None:
            return ("this node's tunnel address is not known yet",)
        try:
            present = conflist.read(settings.conflist)
            if present is not None and not is_managed(present):
                self._migrate(present)
                return ()
            cluster_range = view.cluster_range or settings.cluster_range
            faults = self._taken(present)
            faults += pod_network.range_faults(cluster_range, view.own.ranges)
            faults += self._underlay.mtu_faults(view.own)
            if faults:
                return tuple(faults)
            self._refuse_bare()
            self._cni_versions = self._cni_versions or conflist.common_versions(settings.bin_dir)
        except HostError as error:
            self._retry.failed()  # nobody tells of changes in the folder of the plugins
            return (error.sentence,)
        self._retry.succeeded()
        mtu = self._underlay.pod_mtu()
        document = conflist.render(
            settings, cluster_range, view.own.ranges, mtu, self._cni_versions
        )
        self._write(document)
        self._has_written = True
        self.mtu = mtu
        return ()

    def _migrate(self, present: conflist.Document) -> None:
        changed = conflist.migrated(present)
        if changed is not None and conflist.write(self._settings.conflist, changed):
            log.info("moved runtimeConfig.ovs to ovs in %s", self._settings.conflist)

    def _taken(self, present: conflist.Document | None) -> list[str]:
        """That another daemon writes the conflist: to answer it would be to write for ever."""
        if not self._has_written or present is None or present["name"] == self._settings.network:
            return []
        fault = (
            f"{self._settings.conflist} is network {present['name']}'s by now, of another flaxd;"
            " give each network a --conflist of its own, then remove this one"
        )
        return [fault]

    def _refuse_bare(self) -> None:
        """Raise `HostError` where Linen was taken off and only this container was restarted."""
        plugin = self._settings.bin_dir / LINEN
        if self._settings.service_account is not None and not os.path.lexists(plugin):
            raise HostError(
                f"{plugin} is not there, as where Linen was taken off this node",
                "delete this pod: the next one's init container installs it",
            )

    def _write(self, document: conflist.Document) -> None:
        path = self._settings.conflist
        try:
            if conflist.write(path, document):
                log.info("wrote %s", path)
        except FileNotFoundError:
            streams.refuse_removed(str(path.parent))
            raise
