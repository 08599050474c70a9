# SPDX-License-Identifier: Apache-2.0
"""Black-box tests of the plugin: what a runtime, and an administrator who looks at OVS, can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.cni import Answer, Chain, Json, call, cni_environment
from support.conflists import example

if TYPE_CHECKING:
    import subprocess

    from support.host import Host


@pytest.fixture
def chain(host: Host, cni_path: Path) -> Chain:
    """The master's example network, version 1.1.0, on a fresh host."""
    return Chain(host, example("master", "1.1.0"), cni_path)


class Attached:
    """A pod that `bridge` has attached, and our plugin called directly for it, as libcni would."""

    def __init__(self, host: Host, plugin: Path, chain: Chain) -> None:
        self.host = host
        self.plugin = plugin
        self.chain = chain
        full = chain.conflist
        chain.write({**full, "plugins": full["plugins"][:1]})
        self.prev_result = chain.add("pod")
        chain.write(full)

    def conf(self, **changes: object) -> Json:
        """What arrives on standard input: our entry with name, version and prevResult put in."""
        injected = {key: self.chain.conflist[key] for key in ("name", "cniVersion")}
        return {**self.chain.linen, **injected, "prevResult": self.prev_result, **changes}

    def with_options(self, **options: object) -> Json:
        """`conf`, with some of the options in `ovs` changed."""
        return self.conf(ovs={**self.chain.linen["ovs"], **options})

    def call(self, command: str, conf: Json | None = None, **variables: str | None) -> Answer:
        """Execute the plugin for the pod."""
        return call(self.host, self.plugin, command, conf or self.conf(), **variables)

    def start_add(self, pod: str) -> subprocess.Popen[bytes]:
        """An ADD that waits for its configuration, to be given by `feed`."""
        return self.start("ADD", CNI_CONTAINERID=pod)

    def start(self, command: str, **variables: str) -> subprocess.Popen[bytes]:
        """A call that waits for its configuration, to be given by `feed`."""
        return self.host.start(self.plugin, env=cni_environment(command) | variables)


def feed(process: subprocess.Popen[bytes], conf: Json) -> None:
    """Give a plugin that `start_add` has started its configuration."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(conf).encode())
    process.stdin.close()
    process.stdin = None


def is_asked_to_look(host: Host) -> bool:
    """Whether ovs-vswitchd has been told of more than it has looked at."""
    (numbers,) = host.records("Open_vSwitch", "next_cfg", "cur_cfg")
    return bool(numbers["next_cfg"] > numbers["cur_cfg"])


@pytest.fixture
def attached(host: Host, plugin: Path, chain: Chain) -> Attached:
    """A pod on the Linux bridge kbr0, with nothing in Open vSwitch yet."""
    return Attached(host, plugin, chain)


class Recorder:
    """What went into our plugin, written down by a program that stands in its place."""

    def __init__(self, cni_path: Path, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        place = cni_path / "linen"
        real = place.readlink()
        place.unlink()
        place.write_text(f'#!/bin/sh\ntee "{folder}/$CNI_COMMAND" | {real}\n')
        place.chmod(0o755)

    def stdin(self, command: str) -> Json:
        """The last configuration that a command was given."""
        value = json.loads((self._folder / command).read_text())
        assert isinstance(value, dict)
        return value


@pytest.fixture
def recorder(cni_path: Path, short_folder: Path) -> Recorder:
    """Records the plugin's input in a chain of current reference plugins."""
    return Recorder(cni_path, short_folder / "recorded")
