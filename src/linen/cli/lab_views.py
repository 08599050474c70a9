# SPDX-License-Identifier: Apache-2.0
"""What `linenctl lab` prints: tables for people, JSON values for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from linen.cli.console import PIPE_WIDTH, remark, say, stdout, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from linen.lab.cluster import Lab
    from linen.lab.node import Node
    from linen.lab.ping import PingMatrix
    from linen.lab.pods import Pod
    from linen.lab.runtime import Addition
    from linen.lab.store import Record

_LOST = Text("lost", style="bold red")


def render_labs(records: dict[str, Record | None]) -> list[dict[str, Any]]:
    """Render the labs, those that failed to come up included."""
    return [
        {
            "name": name,
            "up": record is not None,
            "nodes": len(record.nodes) if record else 0,
            "topology": record.description.topology if record else None,
            "datapath": record.description.datapath if record else None,
        }
        for name, record in records.items()
    ]


def labs_table(records: dict[str, Record | None]) -> Table:
    """Tabulate the labs."""
    labs = table("Lab", "Up", "Nodes", "Topology", "Datapath")
    for lab in render_labs(records):
        up = "yes" if lab["up"] else "no"
        labs.add_row(
            lab["name"], up, str(lab["nodes"]), lab["topology"] or "", lab["datapath"] or ""
        )
    return labs


def render_lab(lab: Lab) -> dict[str, Any]:
    """Render a lab's nodes and pods."""
    pods = lab.pods()
    return {
        "name": lab.description.name,
        "topology": lab.description.topology,
        "datapath": lab.description.datapath,
        "nodes": [
            {
                "name": node.name,
                "vtep": str(node.description.vtep),
                "pid": node.process.pid,
                "root": str(node.root),
                "pods": [_render_pod(pod) for pod in pods if pod.node is node],
                "ovs": _switch_of(node),
            }
            for node in lab.nodes.values()
        ],
    }


def print_lab(lab: Lab) -> None:
    """Print a lab's nodes and pods, and the switch of each node as Open vSwitch shows it."""
    rendered = render_lab(lab)
    nodes = table("Node", "VTEP", "Pods", "Files")
    for node in rendered["nodes"]:
        pods = "\n".join(f"{pod['name']} {' '.join(pod['addresses'])}" for pod in node["pods"])
        nodes.add_row(node["name"], node["vtep"], pods, node["root"])
    stdout().print(nodes)
    for node in rendered["nodes"]:
        say("")
        say(f"{node['name']}: ovs-vsctl show", "bold")
        say(node["ovs"].rstrip())


def render_addition(addition: Addition) -> dict[str, Any]:
    """Render what an ADD returned, and how long each plugin took (milliseconds)."""
    return {
        "network": addition.attachment.network,
        "ifname": addition.attachment.ifname,
        "netns": addition.attachment.netns,
        "containerID": addition.attachment.container_id,
        "result": addition.attachment.result,
        "milliseconds": {call.plugin: _milliseconds(call.seconds) for call in addition.calls},
    }


def print_addition(addition: Addition) -> None:
    """Remark what the plugins had to say, and in one line what came of an ADD."""
    for call in addition.calls:
        for line in call.stderr.splitlines():
            remark(f"{call.plugin}: {line}")
    attachment = addition.attachment
    pod = attachment.netns.rpartition("/")[2]
    times = " + ".join(f"{call.plugin} {call.seconds * 1000:.1f}" for call in addition.calls)
    addresses = " ".join(attachment.addresses())
    remark(
        f"{pod} {attachment.ifname}: {addresses} in {attachment.network}: "
        f"{addition.seconds * 1000:.1f} ms ({times})"
    )


def render_matrix(matrix: PingMatrix) -> dict[str, Any]:
    """Render round-trip times in milliseconds by source and target; null is a loss.

    `silent`: the addresses that did not answer where others of the same pod did.
    """
    return {
        "complete": matrix.complete,
        "milliseconds": {
            source: {
                target: None if seconds is None else _milliseconds(seconds)
                for (other, target), seconds in matrix.times.items()
                if other == source
            }
            for source in matrix.pods
        },
        "silent": [
            {"from": source, "to": target, "addresses": list(addresses)}
            for (source, target), addresses in matrix.silent.items()
        ],
    }


def print_matrix(console: Console, matrix: PingMatrix) -> None:
    """Print round-trip times in milliseconds, one row per source, and a line that sums them up.

    A table that the terminal is too narrow for is left out; the losses are named instead. Where
    a pod's IPv4 address answers and its IPv6 address does not, the latter is named in any case.
    """
    times = table("ms from \\ to", *matrix.pods)
    for source, row in render_matrix(matrix)["milliseconds"].items():
        times.add_row(source, *(_render_cell(row, target) for target in matrix.pods))
    unbounded = console.options.update(width=PIPE_WIDTH)
    if console.measure(times, options=unbounded).maximum <= console.width:
        console.print(times)
    else:
        for source, target in matrix.losses:
            console.out(f"{source} to {target}: lost", highlight=False)
    for (source, target), addresses in matrix.silent.items():
        answer = f"no answer from {', '.join(addresses)}"
        console.out(f"{source} to {target}: {answer}", highlight=False)
    console.out(_sum_up(matrix), highlight=False)


def _sum_up(matrix: PingMatrix) -> str:
    if not matrix.times:
        return "There is nothing to ping: that takes two pods (linenctl lab add-pod)."
    times = [seconds for seconds in matrix.times.values() if seconds is not None]
    answers = f"{len(times)} of {len(matrix.times)} pairs answer"
    if not times:
        return answers
    fastest, slowest = _milliseconds(min(times)), _milliseconds(max(times))
    return f"{answers}, in {fastest:.2f} to {slowest:.2f} ms"


def _render_cell(times: dict[str, float | None], target: str) -> Text | str:
    if target not in times:
        return "-"  # a pod does not ping itself
    milliseconds = times[target]
    return _LOST if milliseconds is None else f"{milliseconds:.2f}"


def _render_pod(pod: Pod) -> dict[str, Any]:
    return {"name": pod.name, "addresses": [str(address) for address in pod.addresses]}


def _switch_of(node: Node) -> str:
    return node.run(["ovs-vsctl", "show"]).stdout


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
