# SPDX-License-Identifier: Apache-2.0
"""CNI as a runtime sees it: chains run by the real cnitool, and single plugins called directly.

cnitool shows what libcni makes of a plugin's answers (the chain, prevResult, the cache, the order
of DEL), but swallows what it prints; a direct call shows the answer itself, byte for byte.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from support.paths import CNITOOL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.host import Host

Json = dict[str, Any]


class Answer:
    """What a CNI program said: exit status, JSON on stdout, text on stderr."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr

    @classmethod
    def of(cls, process: subprocess.Popen[bytes], timeout: float = 60) -> Answer:
        """The answer of a program that `Host.start` started, once it has ended."""
        out, err = process.communicate(timeout=timeout)
        text = (out.decode(), err.decode())
        return cls(subprocess.CompletedProcess(process.args, process.returncode, *text))

    def __repr__(self) -> str:
        return f"status {self.status}\nstdout: {self.stdout}\nstderr: {self.stderr}"

    @property
    def json(self) -> Json:
        """The one JSON object on stdout."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict), self
        return value

    def result(self) -> Json:
        """The JSON of a success."""
        assert self.status == 0, self
        return self.json

    def assert_empty_success(self) -> None:
        """A success of a command that has no result: nothing is printed."""
        assert (self.status, self.stdout) == (0, ""), self

    def error(self, code: int) -> str:
        """The text of the one well-formed error with this code: `msg` and `details`."""
        assert self.status != 0, self
        error = self.json
        assert error.keys() <= {"cniVersion", "code", "msg", "details"}, self
        assert isinstance(error["cniVersion"], str), self
        assert error["code"] == code, self
        assert error["msg"], self
        self.assert_no_traceback()
        return f"{error['msg']} {error.get('details', '')}"

    def assert_no_traceback(self) -> None:
        """Whatever happened, nobody sees the inside of the plugin."""
        for text in (self.stdout, self.stderr):
            assert "Traceback" not in text, self
            assert 'File "' not in text, self


class Chain:
    """A network's configuration list on a host, run by cnitool."""

    def __init__(self, host: Host, conflist: Json, cni_path: Path) -> None:
        self.host = host
        self.cni_path = cni_path
        self.folder = host.folder / "net.d"
        self.folder.mkdir(exist_ok=True)
        self.write(conflist)

    def write(self, conflist: Json) -> None:
        """Put `conflist` in the place of the one before."""
        self.conflist = conflist
        (self.folder / "linen.conflist").write_text(json.dumps(conflist, indent=2))

    def run(self, command: str, pod: str, env: Mapping[str, str] | None = None) -> Answer:
        """Run `cnitool COMMAND` for the pod's namespace."""
        variables = {"CNI_PATH": str(self.cni_path), "NETCONFPATH": str(self.folder)}
        network = self.conflist["name"]
        argv = (CNITOOL, command, network, f"/run/netns/{pod}")
        return Answer(self.host.run(*argv, env=variables | dict(env or {}), check=False))

    def add(self, pod: str, env: Mapping[str, str] | None = None) -> Json:
        """Make the pod's namespace if need be, ADD it, and return the chain's result."""
        if f"/run/netns/{pod}" not in self.namespaces():
            self.host.add_namespace(pod)
        return self.run("add", pod, env).result()

    def namespaces(self) -> list[str]:
        """The paths of all pods' namespaces."""
        names = self.host.run("ls", "/run/netns").stdout.split()
        return [f"/run/netns/{name}" for name in names]

    def check(self, pod: str) -> Answer:
        """CHECK the pod."""
        return self.run("check", pod)

    def delete(self, pod: str) -> Answer:
        """DEL the pod; its namespace stays."""
        return self.run("del", pod)

    @property
    def linen(self) -> Json:
        """Our plugin's entry in the list, to be changed at will before `write`."""
        return plugin_entry(self.conflist, "linen")


def plugin_entry(conflist: Json, plugin_type: str) -> Json:
    """A plugin's entry in a list."""
    (entry,) = (plugin for plugin in conflist["plugins"] if plugin["type"] == plugin_type)
    assert isinstance(entry, dict)
    return entry


def call(
    host: Host,
    plugin: Path,
    command: str | None,
    conf: Json | str | bytes,
    *,
    netns: str | None = "/run/netns/pod",
    **variables: str | None,
) -> Answer:
    """Execute a plugin as a runtime does; a variable that is None is left out."""
    told = {"CNI_COMMAND": command, "CNI_NETNS": netns, "CNI_PATH": str(plugin.parent)}
    env = cni_environment("") | told | variables
    present = {name: value for name, value in env.items() if value is not None}
    stdin = json.dumps(conf) if isinstance(conf, dict) else conf
    return Answer(host.run(plugin, stdin=stdin, env=present, check=False))


def cni_environment(command: str) -> dict[str, str]:
    """What a runtime puts into a plugin's environment: all of it, nothing is inherited."""
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "pod-1",
        "CNI_NETNS": "/run/netns/pod",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
    }
