# SPDX-License-Identifier: Apache-2.0
"""What a lab needs from the machine: root, programs, CNI plugins, a datapath.

Everything that is missing is named in one error, with the package to install.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import linen
from linen.lab.conflists import plugin_types
from linen.lab.errors import LabError
from linen.netlink.blocking import OVS_DATAPATH_FAMILY, has_generic_family

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from linen.lab.description import Conflist, Datapath

# Program -> the Debian and Ubuntu package that has it.
_PACKAGES = {
    "ip": "iproute2",
    "iptables": "iptables",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
}
_PLUGINS_PACKAGE = "containernetworking-plugins"
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
REFERENCE_PLUGINS = ("bridge", "host-local", "portmap")
_RENDERED = {*REFERENCE_PLUGINS, "linen"}  # what a rendered conflist runs

# What a rendered conflist may say, newest first. Debian 12's plugins refuse 1.1.0.
_CNI_VERSIONS = ("1.1.0", "1.0.0")
_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KERNEL_MODULE = Path("/sys/module/openvswitch")
_PLUGIN_ANSWER_DEADLINE = 10  # seconds, for VERSION


@dataclass(frozen=True)
class Toolkit:
    """The CNI plugins that go into a lab's nodes. `wrapper` is set where `linen` is no file."""

    plugins: dict[str, Path]
    wrapper: str | None
    cni_version: str

    @classmethod
    def find(
        cls,
        *,
        plugin: Path | None = None,
        cni_path: Path | None = None,
        conflists: Iterable[Conflist] = (),
    ) -> Toolkit:
        """Look for everything; one LabError names all that is missing.

        `plugin` is a `linen` executable; without it bin/linen of this checkout is taken, else
        /opt/cni/bin/linen, else this very interpreter with `-m linen.plugin`.
        `cni_path` is the folder of the other plugins: the reference plugins that a rendered
        conflist needs, and whatever `conflists` name.
        """
        require_root()
        folders = (cni_path.resolve(),) if cni_path else _PLUGIN_FOLDERS
        wanted = set(REFERENCE_PLUGINS).union(*map(plugin_types, conflists)) - {"linen"}
        plugins = _find_plugins(wanted, folders)
        _require_everything(wanted - plugins.keys(), folders)
        executable = _find_linen(plugin)
        if executable:
            plugins["linen"] = executable
        wrapper = None if executable else _render_wrapper()
        commands = [[str(path)] for name, path in plugins.items() if name in _RENDERED]
        if wrapper:
            commands.append(["/bin/sh", "-c", wrapper])
        return cls(plugins, wrapper, _newest_common_version(commands))


def search_path() -> str:
    """Give a PATH that has the system folders, which a plain user's PATH may lack."""
    return f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}".lstrip(":")


def resolve_datapath(wanted: Datapath) -> Datapath:
    """Turn `auto` into `system` where the kernel's module is loaded, into `netdev` elsewhere.

    Only who asks for `system` by name may find the module loaded by us: it outlives the lab.
    """
    if wanted == "auto":
        return "system" if _KERNEL_MODULE.exists() else "netdev"
    if wanted == "system" and not has_generic_family(OVS_DATAPATH_FAMILY):  # which loads it
        raise LabError(
            "datapath system: this kernel has no openvswitch module, nor can it be loaded "
            "(modprobe openvswitch); use --datapath netdev"
        )
    return wanted


def require_root() -> None:
    """Raise LabError for anybody but root."""
    if os.geteuid() != 0:
        raise LabError("a lab makes namespaces and links: run it as root (sudo linenctl lab ...)")


def _find_plugins(names: Iterable[str], folders: tuple[Path, ...]) -> dict[str, Path]:
    """Take each plugin from the first of the folders that has it."""
    found = {}
    for name in sorted(names):
        candidates = (folder / name for folder in folders)
        path = next((one for one in candidates if os.access(one, os.X_OK)), None)
        if path is not None:
            found[name] = path
    return found


def _require_everything(missing_plugins: Collection[str], folders: tuple[Path, ...]) -> None:
    missing = {
        name: package
        for name, package in _PACKAGES.items()
        if not shutil.which(name, path=search_path())
    }
    searched = " or ".join(str(folder) for folder in folders)
    missing |= {f"{name} (in {searched})": _PLUGINS_PACKAGE for name in sorted(missing_plugins)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise LabError(
            f"a lab needs these programs, which are missing: {', '.join(missing)}; "
            f"on Debian and Ubuntu: apt install {packages}"
        )


def _find_linen(given: Path | None) -> Path | None:
    """Find the `linen` executable; None means that it has to be run from its source."""
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise LabError(f"--plugin {given}: no executable file")
        return given.resolve()
    checkout = Path(linen.__file__).resolve().parents[2]
    candidates = (checkout / "bin/linen", Path("/opt/cni/bin/linen"))
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def _render_wrapper() -> str:
    """Render a script that runs the plugin from its source with the interpreter in use."""
    source = shlex.quote(str(Path(linen.__file__).resolve().parents[1]))
    python = shlex.quote(sys.executable)
    return f"#!/bin/sh\nPYTHONPATH={source} exec {python} -sP -m linen.plugin\n"


def _newest_common_version(commands: list[list[str]]) -> str:
    """Ask each plugin for its versions; give the newest that all of them speak."""
    spoken = [(command, _ask_versions(command)) for command in commands]
    for version in _CNI_VERSIONS:
        if all(version in versions for _, versions in spoken):
            return version
    told = "; ".join(f"{' '.join(command)}: {versions}" for command, versions in spoken)
    raise LabError(f"the CNI plugins share none of the versions {_CNI_VERSIONS}: {told}")


def _ask_versions(command: list[str]) -> list[str]:
    answer = "nothing"
    try:
        answer = subprocess.run(
            command,
            env={"CNI_COMMAND": "VERSION", "PATH": search_path()},
            input='{"cniVersion": "1.0.0"}',
            capture_output=True,
            text=True,
            check=False,
            timeout=_PLUGIN_ANSWER_DEADLINE,
        ).stdout
        return list(json.loads(answer)["supportedVersions"])
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        told = f"{' '.join(command)}: no CNI plugin that works: asked for its VERSION it answered"
        raise LabError(f"{told} {answer.strip()} ({error!r})") from error
