# SPDX-License-Identifier: Apache-2.0
"""A cluster to play with, for scripts/cluster: it runs until it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from support.cluster.linen import running_linen
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster

_STATE = CHECKOUT / ".cache" / "cluster.json"


def main() -> None:
    """Do what the command line says: up, kubectl, or the name of a node."""
    word, *others = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if word == "up":
        _run(*others)
    else:
        _execute(word, others)


def _run(overlay: str = "host-ovs") -> None:
    """Hold a cluster with Linen until somebody presses Ctrl-C."""
    with running_linen(overlay) as cluster:
        _STATE.write_text(json.dumps(_commands(cluster)))
        sys.stderr.write(f"The cluster runs; logs are in {cluster.folder}. Ctrl-C ends it.\n")
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass  # that is how one says that it is enough
        finally:
            _STATE.unlink()


def _commands(cluster: Cluster) -> dict[str, list[str]]:
    """How to execute a command, by the place where it is to run."""
    nodes = {name: node.command(()) for name, node in cluster.nodes.items()}
    return {"kubectl": cluster.kubectl_command()} | nodes


def _execute(word: str, argv: list[str]) -> NoReturn:
    """Become kubectl, or a command on a node."""
    commands: dict[str, Any] = json.loads(_STATE.read_text()) if _STATE.exists() else {}
    if word not in commands:
        sys.exit(f"{word}: not one of {', '.join(commands) or 'a cluster: none is up'}")
    command = [*commands[word], *argv]
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
