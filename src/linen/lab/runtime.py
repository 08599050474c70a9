# SPDX-License-Identifier: Apache-2.0
"""A small CNI runtime, for one node of a lab.

It runs a conflist as the CNI specification and libcni say: plugins in order for ADD and CHECK,
in reverse for DEL, each with the network's name and version and the result before it; a failed
ADD is followed by a DEL; results are kept in libcni's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from linen.lab import cache
from linen.lab.cache import Attachment
from linen.lab.conflists import read_conflist
from linen.lab.errors import LabError, PluginFailed
from linen.lab.interruption import Interruption
from linen.lab.programs import search_path
from linen.lab.tidying import take_all, undone

if TYPE_CHECKING:
    from linen.lab.description import Conflist
    from linen.lab.node import Node

PLUGIN_FOLDER = "/opt/cni/bin"
CONFLIST_FOLDER = "etc/cni/net.d"
_PLUGIN_DEADLINE = 60  # seconds

CapabilityArgs = dict[str, Any]


@dataclass(frozen=True)
class PluginCall:
    """One run of a plugin: its wall time in seconds, and what it said on stderr."""

    plugin: str
    seconds: float
    stderr: str


@dataclass(frozen=True)
class Addition:
    """A successful ADD."""

    attachment: Attachment
    calls: tuple[PluginCall, ...]

    @property
    def seconds(self) -> float:
        """The wall time of all plugins together."""
        return sum(call.seconds for call in self.calls)


@dataclass(frozen=True)
class _Target:
    """What CNI_* variables name: an interface in a container's network namespace."""

    container_id: str = ""
    netns: str = ""
    ifname: str = ""


class Runtime:
    """Runs conflists in a node."""

    def __init__(self, node: Node, interruption: Interruption | None = None) -> None:
        """Only remember; a signal that `interruption` tells of ends each ADD, and no DEL."""
        self.node = node
        self._interruption = interruption or Interruption()

    def networks(self) -> dict[str, Conflist]:
        """Read the node's conflists by network name; the first is a pod's default network.

        LabError names a file that is no conflist, and the folder if there is none in it.
        """
        shown = f"{self.node.name}: /{CONFLIST_FOLDER}"
        paths = sorted((self.node.root / CONFLIST_FOLDER).glob("*.conflist"))
        if not paths:
            raise LabError(f"{shown}: no file named *.conflist, so no network for a pod")
        conflists = [read_conflist(path, f"{shown}/{path.name}") for path in paths]
        return {conflist["name"]: conflist for conflist in conflists}

    def attachments(self) -> list[Attachment]:
        """List what has been added and not deleted."""
        return cache.read_attachments(self.node.root)

    def add(
        self, conflist: Conflist, netns: str, ifname: str, capability_args: CapabilityArgs
    ) -> Addition:
        """ADD an interface; PluginFailed, after a DEL, if a plugin fails."""
        _require_capabilities(conflist, capability_args)
        target = _Target(cache.container_id_of(netns), netns, ifname)
        calls = []
        result: dict[str, Any] | None = None
        with undone(partial(self._delete, conflist, target, None, capability_args)):
            for plugin in conflist["plugins"]:
                config = build_config(conflist, plugin, result, capability_args)
                answer, call = self._run("ADD", plugin["type"], config, target)
                result = _parse_result(plugin["type"], answer)
                calls.append(call)
            attachment = Attachment(
                network=conflist["name"],
                container_id=target.container_id,
                ifname=ifname,
                netns=netns,
                conflist=conflist,
                result=result or {},
                capability_args=capability_args,
            )
            self._remember(attachment)
        return Addition(attachment, tuple(calls))

    def delete(self, attachment: Attachment) -> None:
        """DEL an interface, with the conflist that it was added with, and forget it.

        A plugin that fails keeps neither the others from being asked, nor the interface; it is
        reported at the end.
        """
        conflist, args = attachment.conflist, attachment.capability_args
        target = _Target(attachment.container_id, attachment.netns, attachment.ifname)
        result = attachment.result if version_of(conflist) >= (0, 4, 0) else None
        record = self.node.root / cache.RESULTS / attachment.file_name
        take_all(
            [
                partial(self._delete, conflist, target, result, args),
                partial(record.unlink, missing_ok=True),
            ]
        )

    def check(self, attachment: Attachment) -> None:
        """CHECK an interface; PluginFailed quotes what is wrong. The version must be >= 0.4.0."""
        conflist, args = attachment.conflist, attachment.capability_args
        if version_of(conflist) < (0, 4, 0):
            raise LabError(
                f"network {conflist['name']} has cniVersion {conflist.get('cniVersion')!r}; "
                "CHECK exists from 0.4.0 on"
            )
        if conflist.get("disableCheck"):
            return
        target = _Target(attachment.container_id, attachment.netns, attachment.ifname)
        for plugin in conflist["plugins"]:
            config = build_config(conflist, plugin, attachment.result, args)
            self._run("CHECK", plugin["type"], config, target)

    def _delete(
        self,
        conflist: Conflist,
        target: _Target,
        result: dict[str, Any] | None,
        args: CapabilityArgs,
    ) -> None:
        """DEL by each plugin in reverse, also after one has failed: each frees what it took."""
        take_all(
            partial(
                self._run,
                "DEL",
                plugin["type"],
                build_config(conflist, plugin, result, args),
                target,
            )
            for plugin in reversed(conflist["plugins"])
        )

    def _remember(self, attachment: Attachment) -> None:
        (self.node.root / cache.RESULTS).mkdir(mode=0o700, parents=True, exist_ok=True)
        content = cache.render_attachment(attachment)
        self.node.write_file(f"/{cache.RESULTS}/{attachment.file_name}", content)

    def _run(
        self, command: str, plugin: str, config: dict[str, Any], target: _Target
    ) -> tuple[str, PluginCall]:
        """Run one plugin; PluginFailed for any exit status but 0."""
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": target.container_id,
            "CNI_NETNS": target.netns,
            "CNI_IFNAME": target.ifname,
            "CNI_PATH": PLUGIN_FOLDER,
            "PATH": search_path(),
        }
        env = {name: value for name, value in variables.items() if value}
        began = time.perf_counter()
        try:
            status, stdout, stderr = self._run_program(plugin, json.dumps(config), env)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PluginFailed(plugin, command, "", f"{self.node.name}: {error}") from error
        seconds = time.perf_counter() - began
        if status:
            otherwise = f"exit status {status}, and on stderr: {stderr.strip()}"
            raise PluginFailed(plugin, command, stdout, otherwise)
        return stdout, PluginCall(plugin, seconds, stderr)

    def _run_program(self, plugin: str, stdin: str, env: dict[str, str]) -> tuple[int, str, str]:
        """Run a plugin's program to its end; give its exit status, stdout and stderr."""
        process = self.node.popen(
            [f"{PLUGIN_FOLDER}/{plugin}"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # what is not UTF-8 is shown as well as can be
            process_group=0,
        )

        def kill() -> None:
            # With all that it has started: they could keep its output open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        with process:
            if env["CNI_COMMAND"] == "ADD":
                self._interruption.react_with(kill)
            try:
                stdout, stderr = process.communicate(stdin, _PLUGIN_DEADLINE)
            except BaseException:  # Ctrl-C included, which does not reach it by itself
                kill()
                raise
            finally:
                self._interruption.react_with(_do_nothing)
        return process.returncode, stdout, stderr


def _do_nothing() -> None:
    """React to a signal no more."""


def build_config(
    conflist: Conflist,
    plugin: dict[str, Any],
    result: dict[str, Any] | None,
    capability_args: CapabilityArgs,
) -> dict[str, Any]:
    """Build a plugin's stdin from its part of the conflist.

    As libcni does: capability arguments replace the whole `runtimeConfig`, and it stays as it
    is when the plugin has no capability that is asked for.
    """
    config = {**plugin, "name": conflist["name"], "cniVersion": conflist.get("cniVersion", "")}
    if result is not None:
        config["prevResult"] = result
    declared = plugin.get("capabilities", {})
    granted = {name: value for name, value in capability_args.items() if declared.get(name)}
    if granted:
        config["runtimeConfig"] = granted
    return config


def version_of(conflist: Conflist) -> tuple[int, ...]:
    """Give the conflist's version as numbers; none at all means 0.1.0, as for libcni."""
    return tuple(int(part) for part in (conflist.get("cniVersion") or "0.1.0").split("."))


def _require_capabilities(conflist: Conflist, capability_args: CapabilityArgs) -> None:
    declared = {
        name
        for plugin in conflist["plugins"]
        for name, wanted in plugin.get("capabilities", {}).items()
        if wanted
    }
    if missing := sorted(set(capability_args) - declared):
        raise LabError(
            f"no plugin of network {conflist['name']} has the capability {', '.join(missing)}"
        )


def _parse_result(plugin: str, answer: str) -> dict[str, Any]:
    """A plugin that succeeds prints a result; anything else is its failure."""
    with contextlib.suppress(ValueError):
        if isinstance(result := json.loads(answer), dict):
            return result
    raise PluginFailed(plugin, "ADD", answer, "exit status 0, but no result on stdout")
