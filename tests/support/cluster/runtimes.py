# SPDX-License-Identifier: Apache-2.0
"""What runs the containers of a cluster's nodes: containerd, unless --runtime says another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from support.cluster import images
from support.paths import CRIO, KUBERNETES

_CTR = (str(KUBERNETES / "ctr"), "--namespace=k8s.io")
_OLD_CTR = ("/usr/bin/ctr", "--namespace=k8s.io")


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


# https://github.com/containerd/containerd/blob/main/docs/cri/config.md
_CONTAINERD = Runtime(
    name="containerd",
    socket="/run/containerd/containerd.sock",  # as ctr has it
    configuration=f"""
version = 3

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{images.PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true         # its profiles would be loaded into the machine's kernel
  restrict_oom_score_adj = true   # to lower it takes CAP_SYS_RESOURCE, which containers of CI lack
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "/usr/sbin/runc"
  SystemdCgroup = false
""",
    storage="var/lib/containerd",
    rewritten=("*.db",),
    start=(str(KUBERNETES / "containerd"), "--config"),
    probe=(*_CTR, "version"),
    load=(*_CTR, "images", "import"),
    tag=(*_CTR, "images", "tag"),
    path=str(KUBERNETES),
    unconfigured="cni plugin not initialized",
)

# Debian 12's, 1.6, which knows CNI up to 1.0.0.
_OLD_CONTAINERD = _CONTAINERD._replace(
    configuration=f"""
version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "/usr/sbin/runc"
  SystemdCgroup = false
""",
    start=("/usr/bin/containerd", "--config"),
    probe=(*_OLD_CTR, "version"),
    load=(*_OLD_CTR, "images", "import"),
    tag=(*_OLD_CTR, "images", "tag"),
    path="/usr/bin",
)

# Not its usual one, by which kubelet would know it, and ask it for seconds about each container of
# the other nodes, whose control groups it sees.
_CRIO_SOCKET = "/run/crio/runtime.sock"

# Where images are, whatever the machine's storage.conf says.
_CRIO_STORE = "/var/lib/containers/storage"
_PODMAN = (
    "podman",
    f"--root={_CRIO_STORE}",
    "--runroot=/run/containers/storage",
    "--storage-driver=overlay",
)

# crio.conf(5).
_CRIO = Runtime(
    name="crio",
    socket=_CRIO_SOCKET,
    configuration=f"""
[crio]
  root = "{_CRIO_STORE}"
  runroot = "/run/containers/storage"
  storage_driver = "overlay"
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
