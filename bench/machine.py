# SPDX-License-Identifier: Apache-2.0
"""Where and of what a benchmark was run, so that its numbers can be read by others."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from bench.node import BRIDGE, OVS_CNI
from support.paths import CHECKOUT, KUBERNETES

_BUILD_INFO = re.compile(rb"\xff Go buildinf:.{0,64}?go(1\.[0-9.]+)", re.DOTALL)


def describe() -> dict[str, Any]:
    """Machine, kernel, versions. Nothing that would name the machine."""
    return {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "memory, GB": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "kernel": platform.release(),
        "priority": _priority(),
        "python": platform.python_version(),
        "open vswitch": _first_line("ovs-vswitchd", "--version").rpartition(" ")[2],
        "go": _go_version(BRIDGE),
        "bridge": _module_version(BRIDGE, "github.com/containernetworking/plugins"),
        "ovs-cni": _module_version(OVS_CNI, "github.com/k8snetworkplumbingwg/ovs-cni"),
        "kube-apiserver": _kubernetes_version(),
        "linen": _commit(),
    }


def _priority() -> str:
    """Whether the benchmarks, and all that they start, go before the machine's other work."""
    if os.sched_getscheduler(0) == os.SCHED_RR:
        return f"before all other work (chrt --rr {os.sched_getparam(0).sched_priority})"
    return "as all other work, but where real time is said"


def load() -> float:
    """The load average of the last minute: how much else there was to do."""
    return os.getloadavg()[0]


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def _go_version(program: Path) -> str:
    """The Go that a program was built with (debug/buildinfo: the version is inline)."""
    found = _BUILD_INFO.search(program.read_bytes())
    return found[1].decode() if found else "unknown"


def _module_version(program: Path, module: str) -> str:
    """The version of a module in a Go program, which lists what it was built from."""
    found = re.search(rb"\t%b\t(v\S+)" % re.escape(module.encode()), program.read_bytes())
    return found[1].decode() if found else "unknown"


def _kubernetes_version() -> str:
    """The version that scripts/setup kubernetes wrote into the API server."""
    program = KUBERNETES / "kube-apiserver"
    return _first_line(str(program), "--version").split()[-1] if program.exists() else "not built"


def _commit() -> str:
    """The commit of this checkout; "+" where files of the plugin differ from it."""
    git = ["git", "-C", str(CHECKOUT)]
    done = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return "unknown"
    changed = subprocess.run(
        [*git, "diff", "--quiet", "HEAD", "--", "src", "packaging"], check=False
    ).returncode
    return done.stdout.strip() + ("+" if changed else "")
