# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in a lab, as the few classes that somebody catches.

Every message is meant for the person at the terminal: what, where, and what would be right.
"""

from __future__ import annotations

import json
from typing import Any


def tell(error: BaseException) -> str:
    """Give an error's message and its notes, as they are shown at the terminal."""
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


class LabError(Exception):
    """The lab cannot do what was asked; the message is the whole story."""


class ProgramFailed(LabError):
    """A program in a node did not do what it was started for."""

    def __init__(self, node: str, argv: list[str], reason: str) -> None:
        """Name node and command line; `reason` has the program's own words."""
        super().__init__(f"{node}: {' '.join(argv)}: {reason}")


class DaemonFailed(LabError):
    """An Open vSwitch daemon of a node did not start; the message ends with its log's tail."""

    def __init__(self, node: str, daemon: str, reason: str, log_tail: str) -> None:
        """Name the daemon and quote the last lines that it logged."""
        log = f"; last lines of its log:\n{log_tail}" if log_tail else "; it logged nothing"
        super().__init__(f"{node}: {daemon} did not start: {reason}{log}")


class PluginFailed(LabError):
    """A CNI plugin answered with an error, or with something that is no CNI answer."""

    def __init__(self, plugin: str, command: str, answer: str, otherwise: str = "") -> None:
        """Show `answer`, the plugin's stdout, as it is; `otherwise` if it said nothing there."""
        super().__init__(f"plugin {plugin} failed {command}:\n{answer.strip() or otherwise}")
        self.plugin = plugin
        self.command = command
        self.answer = answer

    @property
    def error(self) -> dict[str, Any]:
        """The CNI error object of the answer; empty when the answer is none."""
        try:
            parsed = json.loads(self.answer)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
