# SPDX-License-Identifier: Apache-2.0
"""A running lab.

Tests start one like this:

    with Lab.started(describe(nodes=3, topology="mesh")) as lab:
        lab.add_pod("node1", "a")
        lab.add_pod("node2", "b")
        assert lab.ping_matrix().complete
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from linen.lab import links, pods, starting, store
from linen.lab.description import check_name
from linen.lab.errors import LabError
from linen.lab.interruption import signals_put_off
from linen.lab.keepers import Keepers
from linen.lab.namespaces import CLONE_NEWNET, call_inside, join
from linen.lab.node import Node
from linen.lab.ping import DEADLINE, PingMatrix, ping_all
from linen.lab.programs import Toolkit, require_root
from linen.lab.runtime import Addition, Runtime
from linen.lab.tidying import take_all, undone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from linen.lab.description import Conflist, LabDescription
    from linen.lab.interruption import Interruption
    from linen.lab.pods import Pod
    from linen.lab.starting import Report
    from linen.lab.store import Record


def _silent(_: str) -> None:
    """Report nothing."""


class Lab:
    """A lab that is up. Get one by `started`, `start` or `attach`."""

    def __init__(self, record: Record) -> None:
        """Only remember; `starting` makes what the record stands for."""
        self.description = record.description
        self.nodes = {
            node.name: Node(node, record.nodes[node.name]) for node in record.description.nodes
        }
        self._keeper = record.keeper

    @classmethod
    @contextmanager
    def started(
        cls,
        description: LabDescription,
        *,
        toolkit: Toolkit | None = None,
        report: Report = _silent,
    ) -> Iterator[Lab]:
        """Start a lab, and stop it at the end of the block.

        Should this program die, however it dies, the lab's processes die with it.
        """
        toolkit = toolkit or Toolkit.find(conflists=description.conflists)
        with Keepers() as keepers:
            lab = cls(starting.bring_up(description, toolkit, report, keepers, keep=False))
            try:
                yield lab
            finally:
                lab.stop()

    @classmethod
    def start(
        cls,
        description: LabDescription,
        *,
        toolkit: Toolkit | None = None,
        report: Report = _silent,
    ) -> Lab:
        """Start a lab that outlives this program. `report` is told what has been done."""
        toolkit = toolkit or Toolkit.find(conflists=description.conflists)
        with Keepers() as keepers:
            return cls(starting.bring_up(description, toolkit, report, keepers, keep=True))

    @classmethod
    def attach(cls, name: str) -> Lab:
        """Get hold of a lab that is up; LabError names those that are."""
        require_root()
        record = store.find_record(name)
        if record is None:
            running = [other for other in store.names() if store.find_record(other)]
            advice = f"up: {', '.join(running)}" if running else "`linenctl lab up` starts one"
            raise LabError(f"no lab named {name} is up ({advice})")
        return cls(record)

    def stop(self) -> None:
        """End the lab: its processes, and with them everything that it consisted of."""
        starting.take_down(self.description.name, list(self.nodes.values()))

    def node(self, name: str) -> Node:
        """Find a node by name; LabError names those that exist."""
        return self.nodes[self.description.node(name).name]

    def pods(self) -> list[Pod]:
        """List the pods of all nodes, in the nodes' order."""
        return [pod for node in self.nodes.values() for pod in pods.find_pods(node)]

    def pod(self, name: str) -> Pod:
        """Find a pod by name, or by NODE/POD; LabError names those that exist."""
        everything = self.pods()
        for pod in everything:
            if name in (pod.name, f"{pod.node.name}/{pod.name}"):
                return pod
        known = ", ".join(pod.name for pod in everything) or "none"
        raise LabError(f"lab {self.description.name} has no pod {name!r} (pods: {known})")

    def add_pod(
        self,
        node: str | None = None,
        name: str | None = None,
        *,
        networks: Sequence[str] = (),
        capability_args: dict[str, Any] | None = None,
    ) -> list[Addition]:
        """Make a pod and attach it to networks, in eth0, net1, net2 and so on.

        Defaults: the node with the fewest pods, the first free name of pod1, pod2 ..., and the
        node's first network.
        Whatever fails, nothing of the pod stays; a signal lets the ADD that is under way fail.
        """
        with signals_put_off() as interruption:
            chosen, pod = self._make_pod(node, name, interruption)
            with undone(partial(pods.remove_namespace, chosen, pod)):
                runtime = Runtime(chosen, interruption)
                conflists = _choose_networks(runtime, networks)
                return _attach(runtime, pod, conflists, capability_args or {})

    def del_pod(self, name: str) -> None:
        """Detach a pod from its networks, in reverse, and remove it.

        It is gone afterwards in any case; PluginFailed tells what could not be given back.
        """
        pod = self.pod(name)
        delete = Runtime(pod.node).delete
        with signals_put_off():
            detached = [partial(delete, attachment) for attachment in reversed(pod.attachments)]
            take_all([*detached, partial(pods.remove_namespace, pod.node, pod.name)])

    def check_pod(self, name: str) -> None:
        """CHECK each attachment of a pod; PluginFailed quotes what is wrong."""
        pod = self.pod(name)
        for attachment in pod.attachments:
            Runtime(pod.node).check(attachment)

    def ping_matrix(self, deadline: float = DEADLINE) -> PingMatrix:
        """Ping every pod from every other, for at most `deadline` seconds."""
        return ping_all(self.pods(), deadline)

    def cut(self, node: str) -> None:
        """Take the node's underlay link down."""
        self._set_cable(node, up=False)

    def heal(self, node: str) -> None:
        """Take the node's underlay link up again."""
        self._set_cable(node, up=True)

    def _set_cable(self, node: str, *, up: bool) -> None:
        port = self.node(node).name  # the fabric's port has the node's name
        with self._keeper.opened() as pidfd:
            call_inside(
                lambda: join(pidfd, CLONE_NEWNET), lambda: links.set_link_state(port, up=up)
            )

    def _make_pod(
        self, node: str | None, name: str | None, interruption: Interruption
    ) -> tuple[Node, str]:
        """Make a pod without networks; one at a time, so that names stay unique."""
        with store.claimed(self.description.name, interruption):
            if not self._keeper.is_alive():
                store.remove(self.description.name)
                raise LabError(f"lab {self.description.name} has been taken down")
            everything = self.pods()
            chosen = self.node(node) if node else self._emptiest_node(everything)
            name = name or _free_name(everything)
            self._require_free(name, everything)
            pods.make_namespace(chosen, name)
            return chosen, name

    def _emptiest_node(self, everything: list[Pod]) -> Node:
        counts = dict.fromkeys(self.nodes, 0)
        for pod in everything:
            counts[pod.node.name] += 1
        return self.nodes[min(counts, key=counts.__getitem__)]

    def _require_free(self, name: str, everything: list[Pod]) -> None:
        check_name("pod", name)
        if name in self.nodes:
            raise LabError(f"pod name {name}: a node has it")
        for pod in everything:
            if pod.name == name:
                raise LabError(f"pod {name} exists already, on {pod.node.name}")


def _free_name(everything: list[Pod]) -> str:
    taken = {pod.name for pod in everything}
    return next(name for n in itertools.count(1) if (name := f"pod{n}") not in taken)


def _attach(
    runtime: Runtime, pod: str, conflists: list[Conflist], capability_args: dict[str, Any]
) -> list[Addition]:
    """ADD the pod to each network in turn; should one fail, DEL those before it."""
    netns = pods.netns_path(pod)
    additions: list[Addition] = []

    def detach() -> None:
        take_all(partial(runtime.delete, one.attachment) for one in reversed(additions))

    with undone(detach):
        for index, conflist in enumerate(conflists):
            ifname = f"net{index}" if index else "eth0"
            additions.append(runtime.add(conflist, netns, ifname, capability_args))
    return additions


def _choose_networks(runtime: Runtime, names: Sequence[str]) -> list[Conflist]:
    known = runtime.networks()
    if not names:
        return [next(iter(known.values()))]
    if unknown := [name for name in names if name not in known]:
        raise LabError(
            f"{runtime.node.name} has no network {', '.join(unknown)} "
            f"(networks: {', '.join(known)})"
        )
    return [known[name] for name in names]
