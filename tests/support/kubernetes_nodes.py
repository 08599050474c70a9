# SPDX-License-Identifier: Apache-2.0
"""Nodes of a Kubernetes cluster: hosts, each with a flaxd that talks to the real API server."""

from __future__ import annotations

import ctypes
import os
import socket
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from linen.kube.events import EVENTS
from support.daemons import Flaxd, running_flaxd
from support.host import PATIENCE, Host, running_host, wait_until
from support.paths import FROZEN_PLUGIN, GO_TOOLS
from support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.control_plane import ControlPlane

ACCOUNT = "linen-system/flaxd"
CLONE_NEWNET = 0x40000000  # linux/sched.h


class KubernetesNode:
    """One node: a host, its token, its way to the API server, and the settings of its daemon."""

    def __init__(self, plane: ControlPlane, host: Host, relay: Relay, name: str) -> None:
        self.plane = plane
        self.host = host
        self.relay = relay
        self.name = name
        self.vtep = address_of(name)
        plane.add_node(name)  # first: tokens are bound to it
        self.token = host.folder / "token"
        self.write_token()
        common = plane.token_kubeconfig(self.token, f"https://127.0.0.1:{relay.port}")
        kubeconfig = host.folder / "kubeconfig"
        kubeconfig.write_bytes(common.read_bytes())
        self.settings: dict[str, Any] = {
            "node": name,
            "kubeconfig": kubeconfig,
            "state_dir": host.folder / "state",
            "conflist": host.folder / "net.d" / "linen.conflist",
            "bin_dir": plugin_folder(host),
        }

    def write_token(self, token: str = "") -> None:
        """Give the daemon this token, or a new one, as the kubelet does before the old one ends."""
        temporary = self.token.with_suffix(".new")
        temporary.write_text(token or self.plane.request_token(ACCOUNT, self.name))
        temporary.rename(self.token)

    def register(self, *, ranges: bool = True) -> None:
        """Give the Node its address and its pod range, as the kubelet and a controller would."""
        self.plane.set_addresses(self.name, [self.vtep])
        if ranges:
            self.allocate()

    def allocate(self) -> None:
        """Give the Node its pod range."""
        cidr = f"10.244.{self.name.removeprefix('node')}.0/24"
        self.plane.patch_node(self.name, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})

    @contextmanager
    def flaxd(self, **more: Any) -> Iterator[Flaxd]:
        """Run the daemon."""
        with running_flaxd(self.host, **self.settings | more) as daemon:
            yield daemon

    def vteps(self) -> set[str]:
        """The addresses that a tunnel leads to."""
        rows = self.host.records("Interface", "options", "type")
        return {row["options"]["remote_ip"] for row in rows if row["type"] == "vxlan"}

    def wait_for_peers(self, *names: str, seconds: float = PATIENCE) -> None:
        """Return as soon as there is a tunnel to each of these nodes and to no other."""
        wanted = {address_of(name) for name in names}
        try:
            wait_until(lambda: self.vteps() == wanted, f"{self.name} to reach {names}", seconds)
        except AssertionError as error:
            said = "".join(log.read_text() for log in self.host.folder.glob("flaxd-*.log"))
            raise AssertionError(f"{error}; it has {self.vteps()}; it said:\n{said}") from None

    def condition(self) -> dict[str, Any]:
        """The Node's NetworkUnavailable condition; empty while there is none."""
        conditions = self.plane.node(self.name)["status"].get("conditions", [])
        found = [one for one in conditions if one["type"] == "NetworkUnavailable"]
        return found[0] if found else {}

    def notes(self) -> list[str]:
        """What the Events of the Node say, and not those of an earlier Node of its name."""
        uid = self.plane.node(self.name)["metadata"]["uid"]
        found = self.plane.request("GET", EVENTS)["items"]
        return [event["note"] for event in found if event["regarding"].get("uid") == uid]

    def wait_for_event(self, text: str, *, number: int = 1) -> None:
        """Return as soon as so many Events of the Node say `text`."""
        wait_until(
            lambda: sum(text in note for note in self.notes()) >= number, f"{self.name}'s {text!r}"
        )


class KubernetesNodes:
    """Some nodes on one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, name: str) -> KubernetesNode:
        """A node whose Node has no address yet, with an underlay of MTU 1500."""
        enter = self._stack.enter_context
        folder = Path(enter(tempfile.TemporaryDirectory(prefix="linen-")))
        host = enter(running_host(folder))
        host.add_underlay(f"{address_of(name)}/16")
        relay = enter(Relay(self.plane.port, listener_in(host)))
        return KubernetesNode(self.plane, host, relay, name)


def address_of(name: str) -> str:
    """The tunnel address of node1, node2 and so on."""
    number = int(name.removeprefix("node"))
    return f"10.245.{number >> 8}.{number & 255}"


def plugin_folder(host: Host) -> Path:
    """A folder with our plugin and the current reference plugins."""
    folder = host.folder / "bin"
    folder.mkdir()
    for program in (*GO_TOOLS.iterdir(), FROZEN_PLUGIN):
        (folder / program.name).symlink_to(program)
    return folder


def listener_in(host: Host) -> socket.socket:
    """A socket that listens on a host's own loopback, made by a thread that goes there."""
    made: list[socket.socket] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(f"/proc/{host.pid}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
        made.append(socket.create_server(("127.0.0.1", 0)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert made, "no listener in the host's network namespace"
    return made[0]
