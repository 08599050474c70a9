# SPDX-License-Identifier: Apache-2.0
"""Linen on a cluster and off it again: what linenctl asks of kubectl, and in which order."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from linen.kube import patches
from linen.kube.nodes import parse_own
from linen.rollout.errors import KubectlFailed, RolloutError
from linen.rollout.manifests import DAEMON_SET, NAMESPACE, SERVICE_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from linen.rollout.kubectl import Kubectl

    Object = Mapping[str, Any]

# 1.30 has `cidr()` in its CEL, and refuses it in a new policy: what is stored has to be understood
# by the version before, too (k8s.io/apiserver/pkg/cel/environment, DefaultCompatibilityVersion).
LEAST_VERSION = (1, 31)
FIELD_MANAGER = "linenctl"
GLANCE = 10.0  # seconds between two looks at which nodes are not ready
AT_ONCE = 500  # nodes that one command line names: their names have 253 characters at most
LAST_WORDS = 3  # lines of what a container said last: the end of a traceback, or some faults
_ON_ITS_WAY = {"Completed", "ContainerCreating", "PodInitializing"}
NAME_LABEL = "app.kubernetes.io/name"
PODS = f"{NAME_LABEL}={DAEMON_SET}"
ALL_PODS = "app.kubernetes.io/part-of=linen"


def require_version(kubectl: Kubectl) -> None:
    """Raises `RolloutError` where Kubernetes is too old."""
    server = json.loads(kubectl.run("version", "--output=json"))["serverVersion"]
    # Some providers' minor versions end in a plus.
    found = tuple(int(re.sub(r"\D", "", server[part])) for part in ("major", "minor"))
    if found < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise RolloutError(
            f"the API server is Kubernetes {server['gitVersion']}; Linen needs {least} or later",
            "without its admission policies a token stolen from one node could change every Node",
        )


def apply(kubectl: Kubectl, manifests: str) -> list[str]:
    """Apply the manifests; what became of each object, a line each. Raises `RolloutError`."""
    require_version(kubectl)
    said = kubectl.run(
        "apply",
        "--server-side",
        # Whoever applied them before, with other values, wanted it otherwise then.
        "--force-conflicts",
        f"--field-manager={FIELD_MANAGER}",
        "--filename=-",
        stdin=manifests,
    )
    return said.splitlines()


def wait(kubectl: Kubectl, seconds: float, tell: Callable[[str, str], None]) -> None:
    """Return when Linen works on all nodes.

    `tell`: called with a node and why it is not ready, whenever there is something new to say.
    Raises `RolloutError` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    told: dict[str, str] = {}
    while not _is_rolled_out(kubectl, min(GLANCE, deadline - time.monotonic())):
        causes = find_causes(kubectl)
        for node, cause in causes.items():
            if told.get(node) != cause:
                tell(node, cause)
        told = causes
        if time.monotonic() >= deadline:
            nodes = ", ".join(causes) or f"DaemonSet {DAEMON_SET}"
            raise RolloutError(
                f"not ready after {seconds:g} s: {nodes}",
                f"`kubectl --namespace {NAMESPACE} get pods --output wide` shows more; what was"
                " applied stays, and a node follows when its cause is gone",
            )


def _is_rolled_out(kubectl: Kubectl, seconds: float) -> bool:
    try:
        kubectl.run(
            "rollout",
            "status",
            f"daemonset/{DAEMON_SET}",
            f"--namespace={NAMESPACE}",
            f"--timeout={max(1, round(seconds))}s",
        )
    except KubectlFailed as error:
        if "timed out" in error.details:
            return False
        raise
    return True


def find_causes(kubectl: Kubectl) -> dict[str, str]:
    """The nodes whose flaxd is not ready, and why. Raises `RolloutError`."""
    pods = _get(kubectl, "pods", f"--namespace={NAMESPACE}", f"--selector={ALL_PODS}")
    nodes = {node["metadata"]["name"]: node for node in _get(kubectl, "nodes")}
    causes = {}
    for pod in pods:
        if pod["metadata"]["labels"].get(NAME_LABEL) != DAEMON_SET:
            continue
        node = pod["spec"].get("nodeName")
        if _condition(pod, "Ready").get("status") != "True":
            beside = [one for one in pods if node and one["spec"].get("nodeName") == node]
            causes[node or pod["metadata"]["name"]] = _cause(pod, beside, nodes.get(node, {}))
    return dict(sorted(causes.items()))


def _get(kubectl: Kubectl, kind: str, *arguments: str) -> list[Object]:
    items: list[Object] = json.loads(kubectl.run("get", kind, "--output=json", *arguments))["items"]
    return items


def _cause(pod: Object, beside: Sequence[Object], node: Object) -> str:
    """What is nearest to the root of a pod's trouble, in the words of whoever reports it.

    `beside`: all pods of Linen on its node. Open vSwitch may be one of them.
    """
    for one in (pod, *beside):
        if fault := _container_fault(one):
            return fault
    for found, kind, bad in (
        (node, "Ready", "Unknown"),
        (node, "NetworkUnavailable", "True"),
        (pod, "PodScheduled", "False"),
    ):
        condition = _condition(found, kind)
        if condition.get("status") == bad:
            return str(condition.get("message") or condition.get("reason"))
    return f"the pod is starting (phase {pod.get('status', {}).get('phase', 'unknown')})"


def _container_fault(pod: Object) -> str:
    """Why one of a pod's containers does not run; "" if they do, or are about to."""
    status = pod.get("status", {})
    for container in (
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ):
        state = container.get("state", {})
        stopped = state.get("waiting") or state.get("terminated") or {}
        reason = stopped.get("reason", "")
        if reason and reason not in _ON_ITS_WAY:
            # Of one that ended, its last words say more than when it will be started again.
            last = container.get("lastState", {}).get("terminated", {})
            words = (last.get("message") or stopped.get("message") or "").strip()
            lines = [f"container {container['name']}: {reason}", *words.splitlines()[-LAST_WORDS:]]
            return ": ".join(" ".join(line.split()) for line in lines)
    return ""


def _condition(found: Object, kind: str) -> Object:
    conditions = found.get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == kind), {})


def list_installed(kubectl: Kubectl, manifests: str) -> list[str]:
    """Those of the manifests' objects that are there, as KIND/NAME. Raises `RolloutError`."""
    said = kubectl.run(
        "get", "--ignore-not-found", "--output=name", "--filename=-", stdin=manifests
    )
    return said.splitlines()


def remove(kubectl: Kubectl, manifests: str, seconds: float) -> list[str]:
    """Delete the manifests' objects; what was deleted, a line each.

    First flaxd's account, which tells every flaxd to tidy up its node; then the DaemonSet, when
    that is done; then what Nodes still say of Linen, since a flaxd's token ends with its account;
    then the rest. Raises `RolloutError`.
    """
    place = f"--namespace={NAMESPACE}"
    patience = f"--timeout={max(1, round(seconds))}s"
    said = kubectl.run("delete", "serviceaccount", SERVICE_ACCOUNT, place, "--ignore-not-found")
    try:
        said += kubectl.run(
            "delete",
            "daemonset",
            DAEMON_SET,
            place,
            "--ignore-not-found",
            "--cascade=foreground",
            patience,
        )
    except KubectlFailed as error:
        raise _nodes_that_stay(kubectl, error) from error
    said += _take_back(kubectl)
    said += kubectl.run("delete", "--ignore-not-found", patience, "--filename=-", stdin=manifests)
    return said.splitlines()


def _take_back(kubectl: Kubectl) -> str:
    """Remove from all Nodes what flaxd has written there; a line for each that had something."""
    found = [own for own in map(parse_own, _get(kubectl, "nodes")) if own is not None]
    annotated = [own.name for own in found if patches.publication(own, None)]
    conditioned = [own.name for own in found if patches.without_condition(own)]
    said = _patch(kubectl, annotated, patches.NO_ANNOTATIONS, "--type=merge")
    status = ("--type=strategic", "--subresource=status")
    return said + _patch(kubectl, conditioned, patches.NO_CONDITION, *status)


def _patch(kubectl: Kubectl, nodes: Sequence[str], patch: Object, *how: str) -> str:
    said = ""
    for first in range(0, len(nodes), AT_ONCE):
        names = nodes[first : first + AT_ONCE]
        said += kubectl.run("patch", "nodes", *names, *how, f"--patch={json.dumps(patch)}")
    return said


def _nodes_that_stay(kubectl: Kubectl, error: KubectlFailed) -> RolloutError:
    pods = _get(kubectl, "pods", f"--namespace={NAMESPACE}", f"--selector={PODS}")
    nodes = sorted(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName"))
    if not nodes:
        return error
    return RolloutError(
        f"flaxd does not end on {', '.join(nodes)}: {error.details}",
        "bring these nodes back, or delete their Nodes, and call this again",
    )
