# SPDX-License-Identifier: Apache-2.0
"""A host of its own for each test: namespaces with a real ovsdb-server and ovs-vswitchd in them.

The host has its own network, mounts and processes. In it, /run, /etc/cni and /var/lib/cni are
empty at first, so /var/run/openvswitch/db.sock, /run/netns and what belongs to CNI are where a
configuration expects them, and unix sockets have short paths. All else is the machine's.
It starts in less than 0.1 s, so nothing is shared between tests and nothing has to be cleaned.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

OVSDB_SOCKET = "/var/run/openvswitch/db.sock"
OVSDB_SERVER = "ovsdb-server conf.db --remote=punix:db.sock --detach --pidfile -vconsole:off"
# Where packets are switched: in userspace on every machine, unless "system" asks for the kernel.
DATAPATH = os.environ.get("DATAPATH", "netdev")
_SWITCH_OPTIONS = "--disable-system " if DATAPATH == "netdev" else ""
VSWITCHD = f"ovs-vswitchd unix:db.sock {_SWITCH_OPTIONS}--detach --pidfile -vconsole:off"
PATIENCE = 30.0  # seconds, for what takes less than one on a machine that has nothing else to do
_SCRIPT = Path(__file__).with_name("host.sh")
_SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"


class Host:
    """A running host; commands run in it by `run`, as they would on a machine."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self.folder = folder  # for the test's files; also holds the daemons' logs
        self._started = ExitStack()

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The command line that runs `argv` in the host's namespaces."""
        # --root, --wd: so that a chroot stays one; a mount namespace has the machine's own root.
        namespaces = ["--net", "--mount", "--pid", "--root", "--wd"]
        inside = ["nsenter", f"--target={self.pid}", *namespaces, "--"]
        return inside + [str(word) for word in argv]

    def run(
        self,
        *argv: str | Path,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; raise if it fails and `check` says that it should not."""
        done = subprocess.run(
            self.command(argv),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env=environment(env or {}),
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        out, err = (data.decode(errors="backslashreplace") for data in (done.stdout, done.stderr))
        if check and done.returncode:
            words = " ".join(str(word) for word in argv)
            raise AssertionError(f"{words}: status {done.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(argv, done.returncode, out, err)

    def start(
        self, *argv: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command with pipes for its three streams."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            self.command(argv), stdin=pipe, stdout=pipe, stderr=pipe, env=environment(env or {})
        )
        return self._started.enter_context(process)

    def release(self) -> None:
        """After its end: close what no test has waited for, as one that failed leaves it."""
        self._started.close()

    # --- Open vSwitch ---

    def vsctl(self, *argv: str) -> str:
        """What ovs-vsctl prints, without the last newline."""
        return self.run("ovs-vsctl", "--timeout=10", *argv).stdout.rstrip("\n")

    def records(self, table: str, *columns: str) -> list[dict[str, Any]]:
        """The rows of an OVSDB table, each column in plain Python values."""
        wanted = [f"--columns={','.join(columns)}"] if columns else []
        text = self.vsctl("--format=json", *wanted, "list", table)
        answer = json.loads(text or '{"headings": [], "data": []}')
        return [
            dict(zip(answer["headings"], map(_plain, row), strict=True)) for row in answer["data"]
        ]

    def daemon(self, name: str) -> str:
        """The pid, inside the host, of ovsdb-server or ovs-vswitchd."""
        return self.run("cat", f"/run/openvswitch/{name}.pid").stdout.strip()

    def signal(self, signal: str, daemon: str) -> None:
        """Send a signal, e.g. "STOP", to ovsdb-server or ovs-vswitchd."""
        pid = self.daemon(daemon)
        self.run("kill", f"-{signal}", pid)
        if signal in {"KILL", "TERM"}:
            stat = f"/proc/{pid}/stat"
            wait_until(
                lambda: is_dead(self.run("cat", stat, check=False).stdout), f"{daemon} to end"
            )

    # --- network ---

    def links(self, *where: str) -> dict[str, dict[str, Any]]:
        """The network interfaces by name, as `ip -json link show` describes them."""
        text = self.run("ip", *where, "-details", "-json", "link", "show").stdout
        return {link["ifname"]: link for link in json.loads(text)}

    def add_underlay(self, address: str, mtu: int = 1500) -> None:
        """Make a link that leads nowhere, with the node's address, e.g. "10.245.2.9/24", on it."""
        peer = ("peer", "name", "fabric", "mtu", str(mtu))
        self.run("ip", "link", "add", "underlay", "mtu", str(mtu), "type", "veth", *peer)
        for link in ("underlay", "fabric"):
            self.run("ip", "link", "set", link, "up")
        self.run("ip", "address", "add", address, "dev", "underlay")

    def add_namespace(self, name: str) -> str:
        """Make a pod's network namespace; its path."""
        self.run("ip", "netns", "add", name)
        return f"/run/netns/{name}"


@contextmanager
def running_host(folder: Path) -> Iterator[Host]:
    """A host that ends, with all that runs in it, when the block does."""
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    log = folder / "host.log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            ["unshare", *namespaces, "--", _SCRIPT, folder, VSWITCHD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment({}),
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        pid = process.stdout.readline()
        assert pid, f"the host did not start: {log.read_text()}"
        host = Host(int(pid), folder)
        try:
            yield host
        finally:
            process.stdin.close()  # its process 1 reads to the end, ends, and all others with it
            host.release()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in a host: nothing of the caller's but `extra`."""
    return {"PATH": _SBIN, "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/")} | dict(extra)


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return as soon as `condition` holds; fail, naming `what`, if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.01)


def is_dead(stat: str) -> bool:
    """Whether a process has ended, and let go of its files and locks, by its /proc/PID/stat.

    Where process 1 reaps nothing, a zombie is as dead as it gets. As long as it has threads
    besides, they have the files (proc(5): state, and 17 fields on num_threads).
    """
    fields = stat.rpartition(")")[2].split()
    return not fields or (fields[0] == "Z" and fields[17] == "1")


def _plain(value: Any) -> Any:
    """OVSDB's notation (RFC 7047, 5.1) in Python: lists, dicts, strings for uuids."""
    match value:
        case ["set", list(items)]:
            return [_plain(item) for item in items]
        case ["map", list(pairs)]:
            return {_plain(key): _plain(item) for key, item in pairs}
        case ["uuid", str(uuid)]:
            return uuid
    return value
