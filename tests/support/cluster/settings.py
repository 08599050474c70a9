# SPDX-License-Identifier: Apache-2.0
"""The configuration files of what runs on a node: containerd, kubelet and kube-proxy."""

from __future__ import annotations

from typing import Any

from support.cluster import images
from support.paths import KUBERNETES

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
STATIC_PODS = "/etc/kubernetes/manifests"  # pods that kubelet runs without asking the API server

# https://github.com/containerd/containerd/blob/main/docs/cri/config.md
CONTAINERD = f"""
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "{CONTAINERD_SOCKET}"

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
"""


def kubelet(group: str, authority: str, dns: str) -> dict[str, Any]:
    """kubelet's configuration: the control group that it works in, who may talk to it."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [dns],
        "resolvConf": "",
        "staticPodPath": STATIC_PODS,
        "maxPods": 250,
        # The disk is the machine's, and how full it is nothing that tests are about.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%"},
        # As often as a test would like to hear of changes.
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "5s",
    }


def kube_proxy(name: str, kubeconfig: str, mode: str, pod_network: str) -> dict[str, Any]:
    """kube-proxy's configuration. `mode`: "nftables" or "iptables"."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": pod_network,
        "hostnameOverride": name,
        # These can be set in the machine's own network namespace only: leave them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def environment() -> dict[str, str]:
    """The environment of a node's programs."""
    return {"PATH": f"{KUBERNETES}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
