# SPDX-License-Identifier: Apache-2.0
"""What the plugin loads: nothing but the lists in packaging/, which the static binary is made of.

Each call runs as plain Python in a child that starts without the standard library's modules and
writes down, at its end, which ones are there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.paths import CHECKOUT

if TYPE_CHECKING:
    from support.host import Host

CHILD = """
import posix, sys
before, leave = set(sys.modules), posix._exit
source, report = sys.argv[1:]

def leave_with_report(status):
    with open(report, "w") as file:
        file.write(" ".join(set(sys.modules) - before))
    leave(status)

posix._exit = leave_with_report
sys.path.insert(0, source)
import linen.plugin.__main__
"""
# The freezer takes `from __future__ import annotations` out of the sources, and the static binary
# calls linen.plugin.main by itself.
ONLY_IN_SOURCES = {"__future__", "linen.plugin.__main__"}

OPTIONS = {"isMaster": True, "vtepIPs": ["10.245.2.3"], "datapathType": "netdev"}
CONF = {
    "cniVersion": "1.1.0",
    "name": "pods",
    "type": "linen",
    "ovs": OPTIONS,
    "prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "kbr0"}], "ips": []},
}
MISSPELT = {**CONF, "ovs": {**OPTIONS, "vtepIP": []}}


def read_list(name: str) -> set[str]:
    lines = (CHECKOUT / "packaging" / name).read_text().splitlines()
    return {line.partition("#")[0].strip() for line in lines} - {""}


class Observer:
    """Calls the plugin in a host and collects what it loads."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.loaded: dict[str, set[str]] = {}
        host.run("ip", "link", "add", "kbr0", "type", "bridge")
        host.add_namespace("pod")

    def call(self, title: str, command: str, conf: dict[str, Any], *, fails: bool = False) -> None:
        """Run a command, which must end as `fails` says; keep what it loaded as `title`."""
        report = self.host.folder / "modules"
        done = self.host.run(
            *("/usr/bin/python3", "-I", "-S", "-B", "-c", CHILD, CHECKOUT / "src", report),
            stdin=json.dumps(conf),
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "pod-1",
                "CNI_NETNS": "/run/netns/pod",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": "/opt/cni/bin",
            },
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{title}: {done.stdout}{done.stderr}"
        self.loaded[title] = set(report.read_text().split())


@pytest.fixture
def loaded(host: Host) -> dict[str, set[str]]:
    """The modules that each kind of call loads."""
    observer = Observer(host)
    observer.call("no command", "", {})
    observer.call("VERSION", "VERSION", CONF)
    observer.call("STATUS", "STATUS", CONF)
    observer.call("ADD with a misspelt option", "ADD", MISSPELT, fails=True)
    observer.call("ADD on a fresh host", "ADD", CONF)
    observer.call("ADD of another pod", "ADD", CONF)
    observer.call("CHECK", "CHECK", CONF)
    host.vsctl("del-port", "vxif10_245_2_3")
    observer.call("CHECK without the tunnel", "CHECK", CONF, fails=True)
    observer.call("GC", "GC", {**CONF, "cni.dev/valid-attachments": []})
    observer.call("DEL", "DEL", CONF)
    return observer.loaded


def test_only_listed_modules_are_loaded(loaded: dict[str, set[str]]) -> None:
    """No call loads a module that is in neither list."""
    allowed = read_list("plugin-modules.txt") | read_list("builtin-modules.txt") | ONLY_IN_SOURCES
    unlisted = {title: modules - allowed for title, modules in loaded.items()}
    assert not any(unlisted.values()), unlisted


def test_every_listed_module_is_loaded(loaded: dict[str, set[str]]) -> None:
    """The list holds no module that no call needs."""
    assert read_list("plugin-modules.txt") - set().union(*loaded.values()) == set()
