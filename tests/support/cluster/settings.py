# SPDX-License-Identifier: Apache-2.0
"""The configuration files of what Kubernetes runs on a node: kubelet and kube-proxy."""

from __future__ import annotations

from typing import Any

from support.cluster.runtimes import RUNTIME

STATIC_PODS = "/etc/kubernetes/manifests"  # pods that kubelet runs without asking the API server


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
        "containerRuntimeEndpoint": f"unix://{RUNTIME.socket}",
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
    return {"PATH": f"{RUNTIME.path}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
