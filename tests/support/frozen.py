# SPDX-License-Identifier: Apache-2.0
"""The static binary: building it, and calling it, or what wraps it, as a runtime would."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from support.cni import cni_environment
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONF = {
    "cniVersion": "1.1.0",
    "name": "pods",
    "type": "linen",
    "ovs": {"isMaster": True, "vtepIPs": ["10.245.2.3"], "datapathType": "netdev"},
    "prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "kbr0"}], "ips": []},
}


def build(*options: str | Path, checkout: Path = CHECKOUT, umask: int = -1) -> None:
    """Run build.sh."""
    subprocess.run([checkout / "build.sh", *options], check=True, umask=umask)


def copy_checkout(target: Path) -> Path:
    """Copy what the build reads to `target`, without times and permissions."""
    for folder in ("packaging", "src/linen"):
        shutil.copytree(CHECKOUT / folder, target / folder, copy_function=shutil.copyfile)
    shutil.copy(CHECKOUT / "build.sh", target)
    return target


def call(
    argv: Sequence[str | Path],
    command: str,
    stdin: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a CNI command by `argv`, with the usual configuration unless `stdin` says otherwise."""
    return subprocess.run(
        argv,
        input=json.dumps(CONF).encode() if stdin is None else stdin,
        env=cni_environment(command) | dict(variables or {}),
        capture_output=True,
        check=False,
        timeout=60,
    )


def error_of(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The CNI error object on standard output of a call that failed."""
    assert done.returncode == 1, done
    error = json.loads(done.stdout)
    assert isinstance(error, dict)
    return error
