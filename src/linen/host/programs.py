# SPDX-License-Identifier: Apache-2.0
"""CNI plugins as files: where they are, which versions they speak, which package has them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import linen
from linen.host.errors import HostError

BIN_DIR = "/opt/cni/bin"
# Where distributions put the reference plugins: Debian and Ubuntu, Fedora and its kin.
REFERENCE_FOLDERS = (Path("/usr/lib/cni"), Path("/usr/libexec/cni"))
PACKAGE = "containernetworking-plugins"  # the same name in both
# The chain of the conflist that flaxd writes.
FLAXD_CHAIN = ("bridge", "host-local", "linen", "portmap")
# What a runtime calls by itself for each pod, whatever the conflist: containerd before 2.0 has no
# other way to set up a pod's loopback.
OF_THE_RUNTIME = "loopback"
ANSWER_DEADLINE = 10  # seconds for VERSION, which takes milliseconds


def find_linen(given: Path | None) -> Path:
    """The plugin to install: the one that was named, or bin/linen of this checkout."""
    path = given or Path(linen.__file__).resolve().parents[2] / "bin" / "linen"
    if not is_program(path):
        raise HostError(
            f"{path} is not there or not executable",
            "name the plugin's file with --plugin"
            if given
            else "run ./build.sh, or name the plugin's file with --plugin",
        )
    return path


def is_program(path: Path) -> bool:
    """Whether this is a file that can be executed."""
    return path.is_file() and os.access(path, os.X_OK)


def find_reference(name: str) -> Path | None:
    """A distribution's reference plugin."""
    candidates = (folder / name for folder in REFERENCE_FOLDERS)
    return next((path for path in candidates if is_program(path)), None)


def ask_versions(path: Path) -> list[str]:
    """The versions of CNI that a plugin speaks. Raises `HostError`."""
    answer = "nothing"
    try:
        done = _run(path, {"CNI_COMMAND": "VERSION"}, '{"cniVersion": "1.0.0"}')
        answer = (done.stdout or done.stderr or "nothing").strip()
        versions = json.loads(done.stdout)["supportedVersions"]
        return [str(version) for version in versions]
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it answers {answer[:200]}"
        raise HostError(
            f"{path} is no CNI plugin that works: asked for VERSION, {reason}",
            "install it again; `CNI_COMMAND=VERSION FILE </dev/null` shows the same",
        ) from None


def is_linen(path: Path) -> bool:
    """Whether a file is a `linen` of this project, judging by how it introduces itself."""
    try:
        about = _run(path, {}, "").stderr
    except (OSError, subprocess.SubprocessError):
        return False
    return about.startswith("linen ") and "chained CNI plugin" in about


def version_key(version: str) -> tuple[int, ...]:
    """What sorts versions of CNI."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _run(path: Path, env: dict[str, str], stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [path],
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=ANSWER_DEADLINE,
    )
