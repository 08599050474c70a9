# SPDX-License-Identifier: Apache-2.0
"""A running node: a way into its namespaces.

Everything happens through the node's keeper process, whose namespaces a thread of ours joins.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from linen.lab import namespaces
from linen.lab.errors import LabError, ProgramFailed
from linen.lab.programs import search_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linen.lab.description import NodeDescription
    from linen.lab.process import Process

T = TypeVar("T")

# As seen inside a node; iproute2 keeps its named network namespaces here.
POD_NAMESPACES = Path("/var/run/netns")
COMMAND_DEADLINE = 60  # seconds, for a command that says nothing else


class Node:
    """A node of a running lab. `process` is its keeper."""

    def __init__(self, description: NodeDescription, process: Process) -> None:
        """Only remember; nothing is entered yet."""
        self.description = description
        self.process = process
        self._started: list[subprocess.Popen[Any]] = []

    @property
    def name(self) -> str:
        """The node's name, `node1` and so on."""
        return self.description.name

    @property
    def root(self) -> Path:
        """The node's file system, seen from outside: its logs, sockets and configuration.

        An absolute symbolic link in there would lead outside: say `run`, not `var/run`.
        """
        return Path(f"/proc/{self.process.pid}/root")

    def call(self, function: Callable[[], T], kinds: int = namespaces.EVERY_KIND) -> T:
        """Run a function in the node's namespaces, in a thread (see `namespaces.call_inside`)."""
        try:
            with self.process.opened() as pidfd:
                return namespaces.call_inside(lambda: namespaces.join(pidfd, kinds), function)
        except ProcessLookupError as error:
            raise self._not_running() from error

    def call_in_network(self, function: Callable[[], T]) -> T:
        """Run a function in the node's network namespace alone."""
        return self.call(function, namespaces.CLONE_NEWNET)

    def popen(
        self,
        argv: Sequence[str],
        *,
        pod: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> subprocess.Popen[Any]:
        """Start a program in the node, or in one of its pods; `options` as for subprocess.Popen.

        Its working directory is `/`.
        """
        command = self._command(argv, pod)
        options.setdefault("env", _environment())
        started = self.call(lambda: subprocess.Popen(command, **options))
        self._started.append(started)
        return started

    def reap(self) -> None:
        """Wait for what `popen` has started, once the lab's keeper has been killed.

        The kernel lets a PID namespace end only when each process in it has been waited for.
        """
        for started in self._started:
            started.wait()

    def run(
        self,
        argv: Sequence[str],
        *,
        pod: str | None = None,
        check: bool = True,
        timeout: float | None = COMMAND_DEADLINE,
        **options: Any,  # noqa: ANN401
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return its output as text.

        `options` are those of subprocess.run; `timeout` is in seconds.
        ProgramFailed for another exit status than 0, unless `check` is false, and when the time
        is up.
        """
        command = self._command(argv, pod)
        options.setdefault("env", _environment())
        try:
            done = self.call(
                lambda: subprocess.run(
                    command, check=False, timeout=timeout, capture_output=True, text=True, **options
                )
            )
        except subprocess.TimeoutExpired as error:
            raise ProgramFailed(self.name, command, f"has not ended after {timeout} s") from error
        if check and done.returncode:
            output = (done.stderr or done.stdout).strip()
            raise ProgramFailed(self.name, command, f"exit status {done.returncode}: {output}")
        return done

    def open_pod_socket(self, pod: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket in a pod's network namespace; it stays there, wherever it is used."""

        def open_it() -> socket.socket:
            namespace = os.open(POD_NAMESPACES / pod, os.O_RDONLY)
            try:
                namespaces.join(namespace, namespaces.CLONE_NEWNET)
            finally:
                os.close(namespace)
            return socket.socket(family, kind, protocol)

        return self.call(open_it)

    def pods(self) -> list[str]:
        """Name the pods of the node."""
        try:
            return sorted(path.name for path in (self.root / "run/netns").iterdir())
        except FileNotFoundError as error:
            raise self._not_running() from error

    def write_file(self, path: str, content: str, mode: int = 0o600) -> None:
        """Write a file in the node whole or not at all; its folder must exist."""
        target = self.root / path.lstrip("/")
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        temporary.rename(target)

    def _not_running(self) -> LabError:
        return LabError(f"{self.name} is not running: its keeper, {self.process.pid}, has ended")

    def _command(self, argv: Sequence[str], pod: str | None) -> list[str]:
        return ["ip", "netns", "exec", pod, *argv] if pod else list(argv)


def _environment() -> dict[str, str]:
    """Give our environment, less what would lead Open vSwitch's programs out of the node."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OVS_")}
    return {**kept, "PATH": search_path()}
