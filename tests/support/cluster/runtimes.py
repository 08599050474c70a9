# SPDX-License-Identifier: Apache-2.0
"""What runs the containers of a cluster's nodes: containerd, unless --runtime says another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from support.cluster import images
from support.paths import CRIO, KUBERNETES


class Runtime(NamedTuple):
    """A container runtime, as the service that kubelet calls.

    Of its files on a node's disk: `storage` is the folder with the images, and those in there that
    it writes to in place match `rewritten`. Commands to which words have to be added: `start` wants
    the path of `configuration`, `load` that of an image, `tag` an image and another name for it.
    `probe` succeeds when it serves. `path`: where what it runs itself is looked for first.
    `unconfigured`: what it says of a node without a conflist.
    """

    name: str
    socket: str
    configuration: str
    storage: str
    rewritten: tuple[str, ...]
    start: tuple[str, ...]
    probe: tuple[str, ...]
    load: tuple[str, ...]
    tag: tuple[str, ...]
    path: str
    unconfigured: str


def _containerd(folder: str, version: int, plugin: str, sandbox: str) -> Runtime:
    """containerd from a folder, with the version of its configuration, and what changed with that.

    `plugin`: what the part for containers is called; `sandbox`: lines after it that name the image
    that holds a pod. https://github.com/containerd/containerd/blob/main/docs/cri/config.md
    """
    ctr = (f"{folder}/ctr", "--namespace=k8s.io")
    return Runtime(
        name="containerd",
        socket="/run/containerd/containerd.sock",  # as ctr has it
        configuration=f"""
version = {version}

[plugins."{plugin}"]
  disable_apparmor = true         # its profiles would be loaded into the machine's kernel
  restrict_oom_score_adj = true   # to lower it takes CAP_SYS_RESOURCE, which containers of CI lack
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
{sandbox}

[plugins."{plugin}".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."{plugin}".containerd.runtimes.runc.options]
  BinaryName = "/usr/sbin/runc"
  SystemdCgroup = false
""",
        storage="var/lib/containerd",
        rewritten=("*.db",),
        start=(f"{folder}/containerd", "--config"),
        probe=(*ctr, "version"),
        load=(*ctr, "images", "import"),
        tag=(*ctr, "images", "tag"),
        path=folder,
        unconfigured="cni plugin not initialized",
    )


_CONTAINERD = _containerd(
    str(KUBERNETES),
    3,
    "io.containerd.cri.v1.runtime",
    f"""
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{images.PAUSE}"
""",
)

# Debian 12's, 1.6, which knows CNI up to 1.0.0.
_OLD_CONTAINERD = _containerd(
    "/usr/bin", 2, "io.containerd.grpc.v1.cri", f'  sandbox_image = "{images.PAUSE}"'
)

# Not its usual one, by which kubelet would know it, and ask it for seconds about each container of
# the other nodes, whose control groups it sees.
_CRIO_SOCKET = "/run/crio/runtime.sock"

# Where images are, whatever the machine's storage.conf says.
_STORE, _RUN_STORE, _DRIVER = "/var/lib/containers/storage", "/run/containers/storage", "overlay"
_PODMAN = ("podman", f"--root={_STORE}", f"--runroot={_RUN_STORE}", f"--storage-driver={_DRIVER}")

# crio.conf(5).
_CRIO = Runtime(
    name="crio",
    socket=_CRIO_SOCKET,
    configuration=f"""
[crio]
  root = "{_STORE}"
  runroot = "{_RUN_STORE}"
  storage_driver = "{_DRIVER}"
  clean_shutdown_file = ""   # a node that is switched off keeps its images: no registry has them

[crio.api]
  listen = "{_CRIO_SOCKET}"

[crio.runtime]
  default_runtime = "runc"
  cgroup_manager = "cgroupfs"
  conmon_cgroup = "pod"
  pinns_path = "{CRIO / "pinns"}"
  default_capabilities = [   # its default's, and what ping wants
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETPCAP",
    "NET_BIND_SERVICE", "KILL", "NET_RAW",
  ]

[crio.runtime.runtimes.runc]
  runtime_path = "{Path(__file__).with_name("runc.py")}"
  monitor_path = "/usr/bin/conmon"
  monitor_cgroup = "pod"

[crio.image]
  pause_image = "{images.PAUSE}"

[crio.network]
  cni_status_grace_period = "1s"   # by default STATUS is asked for until it has been well once
""",
    storage="var/lib/containers",
    rewritten=("*.lock", "*.db", "*.boltdb", "*.sqlite"),
    start=(str(CRIO / "crio"), "--config-dir=", "--config"),
    probe=(str(CRIO / "crio"), "status", f"--socket={_CRIO_SOCKET}", "info"),
    load=(*_PODMAN, "load", "--input"),
    tag=(*_PODMAN, "tag"),
    path=str(CRIO),
    unconfigured="no CNI configuration file in /etc/cni/net.d/",
)

_RUNTIMES = {"containerd": _CONTAINERD, "containerd-1.6": _OLD_CONTAINERD, "crio": _CRIO}
_VARIABLE = "LINEN_TEST_RUNTIME"
NAME = os.environ.get(_VARIABLE) or "containerd"
assert NAME in _RUNTIMES, f"{_VARIABLE} is {NAME}, none of {', '.join(_RUNTIMES)}"
RUNTIME = _RUNTIMES[NAME]
