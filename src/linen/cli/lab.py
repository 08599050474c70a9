# SPDX-License-Identifier: Apache-2.0
"""`linenctl lab`: overlays of N nodes on this machine, for people and scripts.

Only options, and what is printed where, are here; the work is in `linen.lab`.
What a script may want goes to stdout, progress and warnings to stderr.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from linen.cli import lab_views
from linen.cli.console import NodeCommand, json_option, remark, stdout
from linen.lab import hints, store
from linen.lab.cluster import Lab
from linen.lab.conflists import read_conflists
from linen.lab.description import (
    DATAPATHS,
    MAX_NODES,
    POD_FAMILIES,
    TOPOLOGIES,
    VTEP_FAMILIES,
    Datapath,
    PodFamily,
    Topology,
    VtepFamily,
    describe,
)
from linen.lab.errors import LabError, tell
from linen.lab.interruption import signals_put_off
from linen.lab.ping import DEADLINE
from linen.lab.programs import Toolkit, require_root
from linen.lab.starting import take_down

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _LabCommand(NodeCommand):
    """Shows a LabError, too, as one message, exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (as click has it)
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(tell(error)) from error


class _LabGroup(click.Group):
    """A group of such commands."""

    command_class = _LabCommand


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--name", default="lab", show_default=True, help="Which lab; several can be up."
    )(function)


@click.group(cls=_LabGroup)
def command() -> None:
    """Start and use overlays of N nodes on this machine (as root).

    Each node has its own network, mount, PID, IPC and UTS namespace, its own Open vSwitch and
    its own CNI folders; pods are network namespaces, attached by the real plugin chain.
    """


@command.command()
@click.option("--nodes", type=click.IntRange(1, MAX_NODES), help="How many nodes.  [default: 3]")
@click.option(
    "--topology", type=click.Choice(TOPOLOGIES), default="star", show_default=True,
    help="Who has a tunnel to whom.",
)  # fmt: skip
@click.option(
    "--pod-family", type=click.Choice(list(POD_FAMILIES)), default="ipv4", show_default=True,
    help="Which addresses pods have.",
)  # fmt: skip
@click.option(
    "--vtep-family", type=click.Choice(VTEP_FAMILIES), default="ipv4", show_default=True,
    help="Which addresses nodes have, so that tunnels are over these.",
)  # fmt: skip
@_named
@click.option(
    "--conflists", type=_FOLDER,
    help="Folder of *.conflist files, the first for node1, instead of generated ones.",
)  # fmt: skip
@click.option("--plugin", type=_FILE, help="The linen executable to try.")
@click.option("--cni-path", type=_FOLDER, help="Folder of bridge, host-local and portmap.")
@click.option(
    "--datapath", type=click.Choice(DATAPATHS), default="auto", show_default=True,
    help="Open vSwitch in userspace (netdev) or in the kernel (system), whose module stays loaded; "
    "auto takes the kernel where the module is loaded already.",
)  # fmt: skip
def up(  # noqa: PLR0913, PLR0917 (one parameter for each option)
    nodes: int | None,
    topology: Topology,
    pod_family: PodFamily,
    vtep_family: VtepFamily,
    name: str,
    conflists: Path | None,
    plugin: Path | None,
    cni_path: Path | None,
    datapath: Datapath,
) -> None:
    """Start a lab."""
    given = read_conflists(conflists) if conflists else ()
    description = describe(
        nodes or len(given) or 3,
        topology,
        name=name,
        datapath=datapath,
        conflists=given,
        pod_family=pod_family,
        vtep_family=vtep_family,
    )
    toolkit = Toolkit.find(plugin=plugin, cni_path=cni_path, conflists=given)
    with signals_put_off() as interruption:
        with _progress() as report:
            lab = Lab.start(description, toolkit=toolkit, report=report)
        if interruption.signal is not None:
            take_down(name, [])
            return
        remark(
            f"Lab {name} is up: {len(lab.nodes)} nodes, datapath {lab.description.datapath}. "
            f"Next: linenctl lab add-pod{_name_option(name)}"
        )
        interruption.finish()


@command.command()
@_named
def down(name: str) -> None:
    """Stop a lab; nothing of it stays."""
    if take_down(name, []):
        remark(f"Lab {name} is gone.")
    else:
        raise LabError(f"there is no lab named {name}")


@command.command("list")
@json_option
def list_labs(*, as_json: bool) -> None:
    """List the labs."""
    require_root()
    records = {name: store.find_record(name) for name in store.names()}
    if as_json:
        click.echo(json.dumps(lab_views.render_labs(records)))
    else:
        stdout().print(lab_views.labs_table(records))


@command.command()
@_named
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show nodes, addresses, pods, and each node's `ovs-vsctl show`."""
    lab = Lab.attach(name)
    if as_json:
        click.echo(json.dumps(lab_views.render_lab(lab)))
    else:
        lab_views.print_lab(lab)


@command.command("add-pod")
@click.argument("node", required=False)
@click.argument("pod", required=False)
@_named
@click.option(
    "--network", "networks", multiple=True,
    help="A network of the node, for eth0, net1, net2 ...; may be repeated.",
)  # fmt: skip
@click.option(
    "--publish", "published", multiple=True, metavar="HOST:POD[/udp]",
    help="Lead a port of the node to one of the pod; may be repeated.",
)  # fmt: skip
@json_option
def add_pod(
    node: str | None,
    pod: str | None,
    name: str,
    networks: tuple[str, ...],
    published: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Make a pod and attach it by the node's plugin chain (ADD).

    Without NODE the node with the fewest pods gets it; without POD it is named pod1, pod2 ...
    Prints the CNI result of each attachment, and on stderr how long each plugin took.
    """
    ports = [_parse_published(text) for text in published]
    additions = Lab.attach(name).add_pod(
        node, pod, networks=networks, capability_args={"portMappings": ports} if ports else {}
    )
    _warn_of_neighbours()
    if as_json:
        click.echo(json.dumps([lab_views.render_addition(addition) for addition in additions]))
        return
    for addition in additions:
        lab_views.print_addition(addition)
        click.echo(json.dumps(addition.attachment.result, indent=4))


@command.command("del-pod")
@click.argument("pod")
@_named
def del_pod(pod: str, name: str) -> None:
    """Detach a pod (DEL, in reverse) and remove it."""
    Lab.attach(name).del_pod(pod)


@command.command("check-pod")
@click.argument("pod")
@_named
def check_pod(pod: str, name: str) -> None:
    """Let each plugin CHECK a pod's attachments; exit status 1 if something is wrong."""
    Lab.attach(name).check_pod(pod)
    remark(f"{pod}: every plugin finds what it made.")


@command.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
)
@_named
@click.argument("where", metavar="NODE|POD")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
def execute(name: str, where: str, argv: tuple[str, ...]) -> None:
    """Run a command in a node or a pod; its exit status becomes ours."""
    lab = Lab.attach(name)
    if where in lab.nodes:
        node, pod = lab.nodes[where], None
    else:
        found = lab.pod(where)
        node, pod = found.node, found.name
    try:
        process = node.popen(argv, pod=pod)
    except OSError as error:
        raise LabError(f"{where} cannot run {argv[0]!r}: {error.strerror}") from error
    sys.exit(_wait_for(process))


@command.command("ping-matrix")
@_named
@click.option(
    "--deadline", type=float, default=DEADLINE, show_default=True, help="Seconds for all."
)
@json_option
def ping_matrix(name: str, deadline: float, *, as_json: bool) -> None:
    """Ping every pod from every other; exit status 1 if any pair gets no answer."""
    lab = Lab.attach(name)
    with _progress() as report:
        report(f"pinging, for at most {deadline:g} s")
        matrix = lab.ping_matrix(deadline)
    if as_json:
        click.echo(json.dumps(lab_views.render_matrix(matrix)))
    else:
        lab_views.print_matrix(stdout(), matrix)
    _warn_of_neighbours()
    if not matrix.complete:
        for hint in hints.masters_without_bridge(lab):
            remark(hint)
        sys.exit(1)


@command.command()
@click.argument("node")
@_named
def cut(node: str, name: str) -> None:
    """Take a node's link to the underlay down."""
    Lab.attach(name).cut(node)


@command.command()
@click.argument("node")
@_named
def heal(node: str, name: str) -> None:
    """Take a node's link to the underlay up again."""
    Lab.attach(name).heal(node)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """On a terminal one line that changes, elsewhere a line for each step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield remark
        return
    with console.status("starting") as status:
        yield lambda step: status.update(Text(step))


def _warn_of_neighbours() -> None:
    for warning in hints.full_neighbour_tables():
        remark(f"warning: {warning}")


def _name_option(name: str) -> str:
    return "" if name == "lab" else f" --name {name}"


def _parse_published(text: str) -> dict[str, Any]:
    """Turn HOST:POD[/PROTOCOL] into an entry of the capability portMappings."""
    ports, _, protocol = text.partition("/")
    host, _, pod = ports.partition(":")
    numbers = [int(port) for port in (host, pod) if port.isdecimal() and int(port) < 65536]
    if len(numbers) != 2 or protocol not in ("", "tcp", "udp", "sctp"):
        raise LabError(f"--publish {text}: write HOST:POD or HOST:POD/udp, for example 8080:80")
    return {"hostPort": numbers[0], "containerPort": numbers[1], "protocol": protocol or "tcp"}


def _wait_for(process: subprocess.Popen[bytes]) -> int:
    """Wait for a command that owns the terminal; give the exit status as a shell does.

    Ctrl-C reaches it by itself, being in the same process group; other signals that mean the
    end are passed on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: process.send_signal(received))
    status = process.wait()
    return 128 - status if status < 0 else status
