# SPDX-License-Identifier: Apache-2.0
"""What this node shows once its overlay works: its conflist."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from linen import streams
from linen.core import addresses
from linen.flaxd import conflist, devices, file_changes, pod_network
from linen.host.checks import folder
from linen.host.conflists import EXTENSIONS, LINEN, is_managed
from linen.host.errors import HostError
from linen.settings.table import GATEWAY_NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.core import cluster
    from linen.netlink.codec import Link
    from linen.netlink.monitor import Monitor
    from linen.settings.table import Settings

log = logging.getLogger("flaxd")

REST = 2.0  # seconds for which a file is away at most while somebody replaces it
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between looks for a plugin that is missing


class ConflistChanged(Exception):
    """An administrator's conflist wants another network by now, or is gone: that of `settings`."""

    def __init__(self, said: str, settings: Settings) -> None:
        super().__init__(said)
        self.settings = settings


class Publisher:
    """Writes the conflist when the overlay works, and again when somebody has changed it.

    `given`: the settings without what an administrator's conflist says; `settings`: with that.
    `objections`: what in such a conflist contradicts those given, so that nobody knows what to do.
    `on_change`: called when there may be something to publish.
    """

    def __init__(self, settings: Settings, given: Settings, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._given = given
        self._on_change = on_change
        self._retry = streams.Retry(on_change, SHORTEST_PAUSE, LONGEST_PAUSE)
        self.objections: tuple[str, ...] = ()
        self._cni_versions: list[str] = []
        self._has_written = False
        self.rivals: tuple[str, ...] = ()  # that the runtime takes another file, and the cure

    async def watch(self) -> None:
        """Notice when the conflist is changed or removed, or another one comes or goes.

        Raises `ConflistChanged`.
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
            is_gone = self._compare()
            self.rivals = self._find_rivals()
            self._on_change()
            if is_gone:
                await asyncio.sleep(REST)
                if self._compare():
                    raise ConflistChanged(self.objections[0], self._given)

    def _compare(self) -> bool:
        """Hold an administrator's conflist against the settings; whether that was, and is gone.

        The plugin does what the file says, so whoever wants something else would undo each ADD.
        A file that cannot be read may be half written: `publish` tells of one that stays so.
        Raises `ConflistChanged`.
        """
        path = self._settings.conflist
        try:
            theirs = conflist.read_administrators(path)
        except HostError:
            return False
        if theirs is None:
            is_gone = self._settings != self._given
            self.objections = (f"{path} no longer is an administrator's",) if is_gone else ()
            return is_gone
        adopted, faults = conflist.adopt(self._given, theirs)
        self.objections = tuple(faults)
        if not faults and adopted != self._settings:
            raise ConflistChanged(f"{path} wants another network than before", adopted)
        return False

    def _find_rivals(self) -> tuple[str, ...]:
        if self._settings.gateway == GATEWAY_NONE:  # Multus finds a secondary network by its name
            return ()
        found = folder.first_file(folder.read_folder(self._settings.conflist.parent))
        return tuple(f"{finding.where}: {finding.what}: {finding.cure}" for finding in found)

    def mtu(self, view: cluster.View | None, monitor: Monitor) -> int | None:
        """Bytes of a pod's packet: as set, else what the underlay carries less VXLAN's overhead."""
        if self._settings.mtu is not None or view is None or view.own is None:
            return self._settings.mtu
        narrowest = _narrowest(view.own, monitor)
        return narrowest.mtu - addresses.overhead(view.own.vtep) if narrowest else None

    def publish(self, view: cluster.View | None, monitor: Monitor) -> tuple[str, ...]:
        """Write the conflist if it isn't there or isn't right; why it could not be written.

        Raises `FolderRemoved` where its folder was.
        """
        settings = self._settings
        if view is None or view.own is None:
            return ("this node's tunnel address is not known yet",)
        try:
            present = conflist.read(settings.conflist)
            if present is not None and not is_managed(present):
                self._migrate(present)
                return ()
            mtu = self.mtu(view, monitor)
            cluster_range = view.cluster_range or settings.cluster_range
            faults = self._taken(present)
            faults += pod_network.range_faults(cluster_range, view.own.ranges)
            faults += self._mtu_faults(view.own, mtu, monitor)
            if faults:
                return tuple(faults)
            self._refuse_bare()
            self._cni_versions = self._cni_versions or conflist.common_versions(settings.bin_dir)
        except HostError as error:
            self._retry.failed()  # nobody tells of changes in the folder of the plugins
            return (error.sentence,)
        self._retry.succeeded()
        document = conflist.render(
            settings, cluster_range, view.own.ranges, mtu, self._cni_versions
        )
        self._write(document)
        self._has_written = True
        self._give_mtu(view.own, mtu, monitor)
        return ()

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

    def _give_mtu(self, own: cluster.Peer, mtu: int | None, monitor: Monitor) -> None:
        """Let the Linux bridge have the conflist's MTU, unless that is taken from it.

        The bridge plugin gives it that only when it makes it; and as long as the OVS bridge is on
        it, with the MTU of before, it would never grow.
        """
        linux_bridge = monitor.links.get(self._settings.linux_bridge)
        if mtu is None or linux_bridge is None or linux_bridge.kind != "bridge":
            return
        if linux_bridge in monitor.links_with(own.vtep):
            return
        if linux_bridge.mtu != mtu:
            devices.set_mtu(linux_bridge, mtu)

    def _mtu_faults(self, own: cluster.Peer, mtu: int | None, monitor: Monitor) -> list[str]:
        """Why pods' packets would not get through, or with IPv6 no pod could start."""
        if mtu is None:
            return [_unknown_mtu(own)]
        enough = addresses.IPV6_MTU
        if mtu >= enough or not any(":" in cidr for cidr in own.ranges):
            return []
        narrowest = _narrowest(own, monitor)
        if self._settings.mtu is not None or narrowest is None:
            return [
                f"IPv6 needs packets of {enough} bytes, mtu is {mtu}: set it to {enough} or more"
            ]
        needed = enough + addresses.overhead(own.vtep)
        device = narrowest.name
        fault = (
            f"IPv6 needs packets of {enough} bytes, {device} leaves {mtu} for pods: give {device}"
            f" an MTU of {needed} or more on all nodes, or pods IPv4 alone"
        )
        return [fault]

    def _taken(self, present: conflist.Document | None) -> list[str]:
        """That another daemon writes the conflist: to answer it would be to write for ever."""
        if not self._has_written or present is None or present["name"] == self._settings.network:
            return []
        fault = (
            f"{self._settings.conflist} is network {present['name']}'s by now, of another flaxd;"
            " give each network a --conflist of its own, then remove this one"
        )
        return [fault]

    def _migrate(self, present: conflist.Document) -> None:
        changed = conflist.migrated(present)
        if changed is not None and conflist.write(self._settings.conflist, changed):
            log.info("moved runtimeConfig.ovs to ovs in %s", self._settings.conflist)


def _unknown_mtu(own: cluster.Peer) -> str:
    return (
        f"how large pods' packets may be is not known: no device of this node has its tunnel"
        f" address {own.vtep}; bring that up, or set mtu"
    )


def _narrowest(own: cluster.Peer, monitor: Monitor) -> Link | None:
    """The device with this node's tunnel address; of several, that with the smallest MTU."""
    return min(monitor.links_with(own.vtep), key=lambda link: link.mtu, default=None)
