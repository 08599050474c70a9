# SPDX-License-Identifier: Apache-2.0
"""A node of a cluster: namespaces with a container runtime, kubelet and kube-proxy in them.

It has a disk, which is a folder, and can be switched off and booted again: then the disk is as it
was, /run is empty and nothing runs that ran before.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from linen.lab import namespaces
from support.cluster import addressing, settings
from support.cluster.runtimes import RUNTIME
from support.host import DATAPATH, Host, wait_until
from support.paths import KUBERNETES, LINENCTL

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cluster.addressing import Addressing
    from support.cluster.fabric import Fabric
    from support.control_plane import ControlPlane

_HERE = Path(__file__).parent


class Node(Host):
    """A node; `run` and what else a host can do work while it is on.

    `addresses`: its InternalIPs, by version; `tunnel_address`: that of br-phy or eth1, where its
    tunnels end.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        number: int,
        addresses: Addressing,
        *,
        has_ovs: bool,
        proxy_mode: str,
    ) -> None:
        super().__init__(0, folder)
        self.name = name
        self.addresses = addresses.nodes(number)
        self.tunnel_address = addresses.tunnels(number)
        self.has_ovs = has_ovs
        self._addressing = addresses
        self._group = f"{folder.parent.name}/{name}"
        self._proxy_mode = proxy_mode
        self._keeper: subprocess.Popen[bytes] | None = None
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        configuration = folder / f"{RUNTIME.name}.toml"
        self._commands = {RUNTIME.name: [*RUNTIME.start, str(configuration)]}
        self.disk = folder / "disk"
        self.disk.mkdir(parents=True)
        self._write(configuration.name, RUNTIME.configuration)

    @property
    def address(self) -> str:
        """Its InternalIP, of two the first."""
        return next(iter(self.addresses.values()))

    def configure(self, plane: ControlPlane, url: str) -> None:
        """Write the configuration of all that runs on it. `url`: the API server's for nodes."""
        kubelet = plane.client_kubeconfig(
            plane.pki.client(f"system:node:{self.name}", "system:nodes"), url
        )
        proxy = plane.client_kubeconfig(plane.pki.client("system:kube-proxy"), url)
        dns, pods = self._addressing.dns, self._addressing.pods
        working = settings.kubelet(self._group, str(plane.ca), dns)
        self._write("kubelet.yaml", yaml.safe_dump(working))
        proxying = settings.kube_proxy(self.name, str(proxy), self._proxy_mode, pods)
        self._write("kube-proxy.yaml", yaml.safe_dump(proxying))
        self._commands |= {
            "kubelet": [
                str(KUBERNETES / "kubelet"),
                f"--config={self.folder}/kubelet.yaml",
                f"--kubeconfig={kubelet}",
                f"--hostname-override={self.name}",
                f"--node-ip={','.join(self.addresses.values())}",
            ],
            "kube-proxy": [
                str(KUBERNETES / "kube-proxy"),
                f"--config={self.folder}/kube-proxy.yaml",
            ],
        }

    # --- power ---

    def boot(self, fabric: Fabric) -> None:
        """Switch on; return when kubelet has been started."""
        self.boot_runtime(fabric)
        self.start_service("kubelet")
        self.start_service("kube-proxy")

    def boot_runtime(self, fabric: Fabric) -> None:
        """Switch on, without what makes it a node of the cluster."""
        self._start_keeper(fabric)
        self.start_service(RUNTIME.name)
        self._wait_for_service(RUNTIME.name, self._runtime_serves)

    def switch_off(self) -> None:
        """End all that runs on it at once."""
        if self._keeper is None:
            return
        with self._keeper as keeper:
            assert keeper.stdin is not None
            keeper.stdin.write(b"off\n")  # process 1 ends, and all others with it
            keeper.stdin.flush()
            for service in self._services.values():
                service.wait(timeout=30)  # the kernel ends a PID namespace when all are waited for
            keeper.wait(timeout=60)
        self._keeper = None
        self._services.clear()

    def _start_keeper(self, fabric: Fabric) -> None:
        words = [self.name, self._group, fabric.pid, "ovs" if self.has_ovs else "none"]
        words += [DATAPATH, addressing.with_prefix(self.tunnel_address)]
        for version, address in self.addresses.items():
            words += [addressing.with_prefix(address), fabric.routers[version]]
        keeper = [_HERE / "keeper.sh", self._group, self.folder.parent]
        script = [*keeper, _HERE / "node.sh", self.folder, *words]
        log = self.folder / "boot.log"
        with log.open("ab") as stderr:
            self._keeper = subprocess.Popen(
                [str(word) for word in script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=settings.environment(),
                start_new_session=True,  # what a terminal sends to the tests is not for this
            )
        assert self._keeper.stdout is not None
        pid = self._keeper.stdout.readline()
        assert pid, f"{self.name} did not start: {log.read_text()}"
        self.pid = int(pid)

    # --- what runs on it ---

    def start_service(self, name: str) -> None:
        """Start the runtime, kubelet or kube-proxy, with its log in NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._services[name] = self._spawn(self._commands[name], log.fileno())

    def kill_service(self, name: str) -> None:
        """End the runtime, kubelet or kube-proxy as a crash would."""
        service = self._services.pop(name)
        service.kill()
        service.wait(timeout=10)

    def restart_proxy(self, mode: str) -> None:
        """End kube-proxy and start it in another mode."""
        path = self.folder / "kube-proxy.yaml"
        configuration = yaml.safe_load(path.read_text())
        self._write(path.name, yaml.safe_dump(configuration | {"mode": mode}))
        self.kill_service("kube-proxy")
        self.start_service("kube-proxy")

    def load_image(self, archive: Path) -> None:
        """Give the runtime an image."""
        self.run(*RUNTIME.load, archive, timeout=120)

    def tag_image(self, image: str, name: str) -> None:
        """Give an image of the runtime another name besides."""
        self.run(*RUNTIME.tag, image, name, timeout=120)

    def faults(self) -> list[str]:
        """The names of what `linenctl check` finds on it, but for notes."""
        found = json.loads(self.run(*LINENCTL, "check", "--json", check=False).stdout)
        return [one["check"] for one in found if one["severity"] in {"warning", "error"}]

    def start_ovs(self) -> None:
        """Start what is not running of Open vSwitch, where it is installed on the node."""
        assert self.has_ovs
        self.run(_HERE / "ovs.sh", DATAPATH)
        self.run(_HERE / "tunnels.sh", addressing.with_prefix(self.tunnel_address), DATAPATH)

    def stop_ovs(self) -> None:
        """End Open vSwitch as its service does. Its database stays, its devices go."""
        for daemon in ("ovs-vswitchd", "ovsdb-server"):
            self.signal("TERM", daemon)

    def _spawn(self, command: list[str], log: int) -> subprocess.Popen[bytes]:
        """Start a program that is born in the node's namespaces."""
        pidfd = os.pidfd_open(self.pid)
        try:
            return namespaces.call_inside(
                lambda: namespaces.join(pidfd, namespaces.EVERY_KIND),
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=settings.environment(),
                ),
            )
        finally:
            os.close(pidfd)

    def _runtime_serves(self) -> bool:
        return self.run(*RUNTIME.probe, check=False).returncode == 0

    def _wait_for_service(self, name: str, condition: Callable[[], bool]) -> None:
        def holds() -> bool:
            log = self.folder / f"{name}.log"
            ended = self._services[name].poll() is not None
            assert not ended, f"{name} on {self.name} ended: {log.read_text()[-2000:]}"
            return condition()

        wait_until(holds, f"{name} on {self.name}, whose log is in {self.folder}", 60)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")
