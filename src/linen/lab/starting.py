# SPDX-License-Identifier: Apache-2.0
"""Bringing a lab up, and taking it down.

Whatever happens in between (an error, Ctrl-C, SIGTERM), the lab is afterwards either up and
recorded, or gone; after an error the daemons' logs stay, for the one who has to find out why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from linen.lab import conflists, links, store
from linen.lab.errors import LabError
from linen.lab.interruption import Interruption, signals_put_off
from linen.lab.keepers import open_network_namespace
from linen.lab.namespaces import CLONE_NEWNET, call_inside, join
from linen.lab.node import Node
from linen.lab.programs import require_root, resolve_datapath
from linen.lab.switch import LOGS, start_switch
from linen.lab.tidying import take_all, undone

if TYPE_CHECKING:
    from pathlib import Path

    from linen.lab.description import LabDescription
    from linen.lab.keepers import Keepers
    from linen.lab.process import Process
    from linen.lab.programs import Toolkit
    from linen.lab.store import Record

Report = Callable[[str], None]

_CONFLIST = "/etc/cni/net.d/linen.conflist"
_PLUGIN = "/opt/cni/bin/linen"
_WORKERS = 8  # nodes that are brought up at the same time


def bring_up(
    description: LabDescription,
    toolkit: Toolkit,
    report: Report,
    keepers: Keepers,
    *,
    keep: bool,
) -> Record:
    """Start a lab and record it; `keep` makes it outlive this program."""
    name = description.name
    description = replace(description, datapath=resolve_datapath(description.datapath))
    with signals_put_off() as interruption, store.claimed(name, None) as folder:
        if store.find_record(name):
            raise LabError(f"lab {name} is up already; `linenctl lab down --name {name}` ends it")
        shutil.rmtree(folder / "log", ignore_errors=True)
        try:
            record = _build(description, toolkit, report, keepers, interruption)
            if keep:
                keepers.keep()
        except BaseException as error:
            if keepers.lab:
                keepers.lab.kill()
            if interruption.signal is None and (folder / "log").exists():
                error.add_note(
                    f"the daemons' logs are kept in {folder}/log until the next `lab up`"
                )
            else:
                store.remove(name)
            raise
        if interruption.signal is not None:
            record.keeper.kill()
            store.remove(name)
        return record


def take_down(name: str, nodes: list[Node]) -> bool:
    """Stop a lab and forget it; False if there was nothing of that name.

    `nodes` are those in which this program has started processes.
    """
    require_root()
    with signals_put_off() as interruption:
        if not store.folder_of(name).exists():
            return False
        with store.claimed(name, interruption):
            record = store.find_record(name)
            if record:
                record.keeper.kill(then=lambda: _reap(nodes))
            store.remove(name)
    return True


def _reap(nodes: list[Node]) -> None:
    for node in nodes:
        node.reap()


def _build(
    description: LabDescription,
    toolkit: Toolkit,
    report: Report,
    keepers: Keepers,
    interruption: Interruption,
) -> Record:
    keeper = keepers.start(
        description.name, [node.name for node in description.nodes], toolkit.plugins
    )
    interruption.react_with(keeper.kill)
    nodes = [Node(node, keepers.nodes[node.name]) for node in description.nodes]
    _lay_cables(keeper, nodes, offloads=description.datapath == "system")
    report(f"underlay: {len(nodes)} nodes cabled to one fabric")
    with undone(partial(_save_logs, nodes, store.folder_of(description.name) / "log")):
        _start_nodes(description, nodes, toolkit, report)
    record = store.Record(description, keeper, keepers.nodes)
    store.write_record(record)
    return record


def _lay_cables(keeper: Process, nodes: list[Node], *, offloads: bool) -> None:
    """Join all nodes to the fabric, which is the keeper's own network namespace."""
    with contextlib.ExitStack() as stack:

        def opened(process: Process) -> int:
            descriptor = open_network_namespace(process)
            stack.callback(os.close, descriptor)
            return descriptor

        fabric = opened(keeper)
        ends = [(node.name, opened(node.process)) for node in nodes]

        def lay() -> None:
            links.build_fabric()
            links.plug_cables(ends)
            if not offloads:
                links.disable_offloads([links.FABRIC, *(node.name for node in nodes)])

        call_inside(lambda: join(fabric, CLONE_NEWNET), lay)


def _start_nodes(
    description: LabDescription, nodes: list[Node], toolkit: Toolkit, report: Report
) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        started = {
            pool.submit(_start_node, description, node, toolkit): node.name for node in nodes
        }
        try:
            for count, future in enumerate(as_completed(started), start=1):
                future.result()
                report(f"{started[future]}: switch runs ({count} of {len(nodes)})")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_node(description: LabDescription, node: Node, toolkit: Toolkit) -> None:
    start_switch(node, description.datapath)
    conflist = conflists.conflist_of(description, node.description, toolkit.cni_version)
    node.write_file(_CONFLIST, conflists.render_json(conflist))
    if toolkit.wrapper:
        node.write_file(_PLUGIN, toolkit.wrapper, mode=0o755)


def _save_logs(nodes: list[Node], folder: Path) -> None:
    take_all(
        partial(shutil.copytree, node.root / LOGS.lstrip("/"), folder / node.name) for node in nodes
    )
