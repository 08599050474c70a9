# SPDX-License-Identifier: Apache-2.0
"""A running flaxd on a test's host, as an administrator would start it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from support.host import DATAPATH, PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.host import Host

FLAXD = Path(sys.executable).with_name("flaxd")
CLUSTER_RANGE = "10.244.0.0/16"

_GET = """
import sys, urllib.request, urllib.error
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=25)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""


class Flaxd:
    """One daemon. `log` is what it has said, after what others with the same log said before.

    `begin`: the number of bytes that these had written when it was started.
    """

    def __init__(self, host: Host, process: subprocess.Popen[bytes], log: Path, begin: int) -> None:
        self.host = host
        self.process = process
        self._log = log
        self._begin = begin

    @property
    def log(self) -> str:
        """Everything that it has logged until now."""
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, text: str, seconds: float = PATIENCE) -> None:
        """Return as soon as it has logged `text`."""
        try:
            wait_until(lambda: text in self.log, f"flaxd to say {text!r}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.log}") from None

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of one of its pages, as soon as it serves them."""
        url = f"http://{self._address()}{path}"
        status, _, text = self.host.run(sys.executable, "-I", "-c", _GET, url).stdout.partition(" ")
        return int(status), text

    def _address(self) -> str:
        word = b"serving http://"
        said = [b""]

        def serves() -> bool:
            said[:] = self._log.read_bytes()[self._begin :].split(word)
            return len(said) > 1

        wait_until(serves, "flaxd to serve its pages")
        return said[1].split()[0].decode()

    def state(self) -> dict[str, Any]:
        """What its page /state says."""
        found: dict[str, Any] = json.loads(self.get("/state")[1])
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)


class Nodes:
    """The file with the cluster's nodes, replaced atomically at each change."""

    def __init__(self, path: Path, *names: str) -> None:
        self.path = path
        self.nodes: dict[str, dict[str, Any]] = {}
        for name in names:
            self.nodes[name] = node(name)
        self.write()

    def add(self, name: str, **changes: Any) -> None:
        """Add or change a node."""
        self.nodes[name] = self.nodes.get(name, node(name)) | changes
        self.write()

    def remove(self, name: str) -> None:
        """Remove a node."""
        del self.nodes[name]
        self.write()

    def write(self) -> None:
        """Replace the file."""
        document = {"clusterRange": CLUSTER_RANGE, "nodes": list(self.nodes.values())}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document))
        temporary.rename(self.path)


def node(name: str) -> dict[str, Any]:
    """The record of node1, node2 and so on."""
    number = int(name.removeprefix("node"))
    return {
        "name": name,
        "vtep": f"10.245.{number >> 8}.{number & 255}",
        "ranges": [f"10.244.{number}.0/24"] if number < 256 else [],
        "master": number == 1,
    }


@contextlib.contextmanager
def running_flaxd(
    host: Host,
    *,
    program: Sequence[str | Path] = (FLAXD,),
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    **settings: object,
) -> Iterator[Flaxd]:
    """A daemon with these settings (underscores for dashes), stopped with the block.

    `program`: the command line that the settings are added to, which has to become the daemon.
    """
    given = {"datapath_type": DATAPATH, "listen": "127.0.0.1:0"} | settings
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    name = "-".join(str(given[key]) for key in ("node", "network") if key in given)
    log = host.folder / f"flaxd-{name}.log"
    # Without a PID namespace of its own nsenter becomes the daemon, so that signals reach it.
    inside = ["nsenter", f"--target={host.pid}", "--net", "--mount", "--"]
    with log.open("ab") as stream:
        begin = stream.tell()
        process = subprocess.Popen(
            [*inside, *program, *arguments],
            stdin=stdin,
            stdout=stream,
            stderr=stream,
        )
    daemon = Flaxd(host, process, log, begin)
    try:
        yield daemon
    finally:
        if process.poll() is None:
            daemon.stop()
