# SPDX-License-Identifier: Apache-2.0
"""What all commands about this node share: consoles, options, and errors as messages."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from linen.core.errors import LinenError
from linen.host.conflists import CONF_DIR
from linen.host.programs import BIN_DIR
from linen.host.record import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable

    from linen.host.findings import Finding, Severity

KUBERNETES = "--kubernetes"
PIPE_WIDTH = 10_000  # columns: where nobody looks on, a table is as wide as it needs to be

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "cyan", "ok": "green"}
_INDENT = 9  # columns; the longest severity and a space more
# Not whether they can be read: click would ask access(2), which does not count capabilities of a
# program's file, as linenctl has them in flaxd's container.
CONFLISTS = click.Path(exists=True, readable=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, readable=False, path_type=Path)


class NodeCommand(click.Command):
    """Shows an error of ours as one message; to its author, Python shows the rest."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (as click has it)
        """Carry the command out."""
        try:
            return super().invoke(ctx)
        except LinenError as error:
            parts = (error.message, error.details)
            raise click.ClickException("\n".join(filter(None, parts))) from error
        except BrokenPipeError:
            raise  # click's matter: whoever read our output has seen enough
        except OSError as error:
            who = "" if os.geteuid() == 0 else "; this command is for root"
            notes = getattr(error, "__notes__", [])
            raise click.ClickException("\n".join([f"{error}{who}", *notes])) from error


class HostOrCluster(NodeCommand):
    """A command about this host that, with --kubernetes, is another one about a cluster."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 (as click has it)
    ) -> click.Context:
        """The context in which either of the two is carried out."""
        if KUBERNETES not in args:
            return super().make_context(info_name, args, parent, **extra)
        from linen.cli import kubernetes

        command = kubernetes.COMMANDS[str(info_name)]
        rest = [word for word in args if word != KUBERNETES]
        return command.make_context(f"{info_name} {KUBERNETES}", rest, parent, **extra)


def stdout() -> Console:
    """For what was asked for: nothing in it is taken for markup, nor `:a:` for an emoji."""
    # None: it was closed before we were started.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = None if is_terminal else PIPE_WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False)


def say(text: str, style: str = "") -> None:
    """Print one line, unbroken, with nothing in it taken for markup."""
    stdout().print(Text(text, style=style), soft_wrap=True)


def remark(text: str) -> None:
    """Print one line for whoever looks on; that nobody does any more must not end the work."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def print_finding(finding: Finding) -> None:
    """Print what a check found: one line of what and where, and one each of why and what to do."""
    print_line(finding.severity, f"{finding.where}: {finding.what}", finding.check)
    for label, text in (("cause", finding.cause), ("cure", finding.cure)):
        if text:
            say(f"{'':{_INDENT}}{label}: {text}")


def print_line(severity: Severity, text: str, check: str = "") -> None:
    """Print one line behind a severity; with the name of the check, if one is given."""
    line = Text(f"{severity:{_INDENT}}", style=_STYLES[severity])
    line.append(text, style="not bold default")
    if check:
        line.append(f"  [{check}]", style="not bold dim")
    stdout().print(line, soft_wrap=True)


def table(*columns: str) -> Table:
    """A table in the style of all our commands."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(column, overflow="fold")
    return found


def conf_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the runtime reads conflists."""
    return click.option(
        "--conf-dir", type=_FOLDER, default=CONF_DIR, show_default=True,
        help="The runtime's folder of conflists.",
    )(function)  # fmt: skip


def bin_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the runtime looks for plugins."""
    return click.option(
        "--bin-dir", type=_FOLDER, default=BIN_DIR, show_default=True,
        help="The runtime's folder of CNI plugins.",
    )(function)  # fmt: skip


def state_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the record of what was installed lies, and the nodes that flaxd knows."""
    return click.option(
        "--state-dir", type=_FOLDER, default=STATE_DIR, show_default=True,
        help="The folder of what Linen keeps on this node.",
    )(function)  # fmt: skip


def kubernetes_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """For the help: a `HostOrCluster` has looked at it before."""
    return click.option(
        KUBERNETES, is_flag=True, expose_value=False,
        help=f"The whole cluster instead; `{KUBERNETES} --help` shows its options.",
    )(function)  # fmt: skip


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """For scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
