# SPDX-License-Identifier: Apache-2.0
"""`linenctl`: finds the sub-command's module, and turns errors into messages.

A sub-command NAME is the click command `command` in `linen.cli.NAME`; it is imported only when
it is called, so that each starts with no more than it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

import linen

if TYPE_CHECKING:
    from collections.abc import Mapping

# Sub-command -> what `linenctl --help` says of it, without importing it.
_COMMANDS: Mapping[str, str] = {
    "check": "What is wrong with conflists or this node, why, and what to do.",
    "doctor": "The same as check.",
    "install": "Put plugins and conflist where the container runtime looks.",
    "lab": "Overlays of N nodes on this machine, to try things.",
    "plan": "What the next ADD would change on this node.",
    "show": "This node's OVS bridges, tunnels, controllers and counters.",
    "uninstall": "Take all of it away again, and nothing of others.",
}
_MODULES = {"doctor": "check"}  # where it is not the command's own name


class _LazyGroup(click.Group):
    """A group whose commands are modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command: click.Command = importlib.import_module(f"linen.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(linen.__version__, prog_name="linenctl")
def main() -> None:
    """Linen: overlay networks on Open vSwitch, as a chained CNI plugin."""


if __name__ == "__main__":
    main(prog_name="linenctl")
