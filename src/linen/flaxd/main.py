# SPDX-License-Identifier: Apache-2.0
"""`flaxd`: settings from everywhere, then the daemon until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import click

import linen
from linen.core.errors import LinenError
from linen.flaxd import cache, conflist, http, logs, privileges, removal
from linen.flaxd.conflist_watch import ConflistChanged
from linen.flaxd.daemon import Daemon
from linen.flaxd.sources import FileSource
from linen.host.errors import HostError
from linen.settings.table import SETTINGS, Settings, SettingsInvalid, load, log_level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from linen.flaxd.sources import Source
    from linen.light.json import Json
    from linen.netlink.monitor import Monitor

MakeSource: TypeAlias = "Callable[[Settings, Monitor], Source]"

log = logging.getLogger("flaxd")

# Exit statuses. After the second one systemd does not start it again (packaging/systemd), so it is
# for what only an administrator can mend, and never by itself.
START_AGAIN, WRONG_SETTINGS = 1, 2


def _with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """One option for each setting. All are texts: `load` parses what comes from everywhere."""
    for name, setting in reversed(SETTINGS.items()):
        help_text = setting.help + _shown(setting.default)
        function = click.option(f"--{name}", metavar="TEXT", help=help_text)(function)
    return function


def _shown(default: Json) -> str:
    """A setting's default, in the form in which it would be given."""
    match default:
        case str(host), int(port):
            return f" [{http.shown(host, port)}]"
        case tuple():
            return f" [{','.join(default)}]"
        case str() | int() | Path():
            return f" [{default}]"
    return ""  # none, or the help tells what happens without it


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with settings.")
@_with_settings
@click.version_option(linen.__version__, prog_name="flaxd")
def main(config: Path | None, **texts: str | None) -> None:
    """Keep this node's tunnels in line with the cluster's nodes.

    Each setting is also a key of the YAML file of --config, and LINEN_… in the environment.
    """
    arguments = {name.replace("_", "-"): text for name, text in texts.items() if text is not None}
    try:
        given = load(arguments, os.environ, config)
        chosen = effective(given)
    except SettingsInvalid as error:
        _give_up(error.faults, WRONG_SETTINGS)
    except HostError as error:
        _give_up([error.sentence], START_AGAIN)
    logs.set_up(log_level(chosen), chosen.log_format)
    for fault in privileges.faults(chosen):
        log.warning("%s", fault)
    try:
        asyncio.run(_run_until_stopped(given, chosen))
    except LinenError as error:
        _give_up([error.sentence], START_AGAIN)


def _give_up(faults: Iterable[str], status: int) -> NoReturn:
    """End with these last words, which may come before logging is set up."""
    for fault in faults:
        print(f"flaxd: {fault}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


def effective(given: Settings) -> Settings:
    """The settings that were given, in line with an administrator's conflist.

    Raises `SettingsInvalid`, and `HostError` for a conflist that cannot be read (yet).
    """
    document = conflist.read_administrators(given.conflist)
    if document is None:
        return given
    adopted, faults = conflist.adopt(given, document)
    if faults:
        raise SettingsInvalid(faults)
    return adopted


class _Told(Exception):
    """The daemon was told to end."""


async def _run_until_stopped(given: Settings, chosen: Settings) -> None:
    """Work until a signal, or until Linen is taken off the cluster, and then wait for a signal.

    `chosen`: the settings that were given, in line with an administrator's conflist. When that says
    something else, the daemon begins anew with it.
    """
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with _sources(given) as make_source:
        while True:
            try:
                await _run(given, chosen, told, make_source)
            except ConflistChanged as change:
                log.warning("%s: starting again with that", change)
                chosen = change.settings
            except removal.Removed:
                break
            else:
                return
    log.warning("Linen was taken off the cluster, so it goes from this node")
    await removal.take_off(chosen)
    log.info("nothing is left to do but to be ended; delete this pod to have Linen here again")
    await told.wait()


async def _run(
    given: Settings, chosen: Settings, told: asyncio.Event, make_source: MakeSource
) -> None:
    """One daemon until it is told to end. Raises `ConflistChanged`, `Removed` and `LinenError`."""
    daemon = Daemon(chosen, given, lambda monitor: make_source(chosen, monitor))
    reason: Exception | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(daemon.run(), name="daemon")
            tasks.create_task(_end(told, daemon.source), name="end")
    except* _Told:
        pass
    except* (removal.Removed, ConflistChanged, LinenError) as group:
        found = list(_errors(group))
        # Nothing else matters once Linen is gone.
        reason = next((one for one in found if isinstance(one, removal.Removed)), found[0])
    if reason is not None:
        raise reason


def _errors(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """The errors of a group of groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _errors(error)
        else:
            yield error


async def _end(told: asyncio.Event, source: Source) -> None:
    """End the daemon's other tasks when it is told to, after last news."""
    await told.wait()
    await source.part()
    raise _Told


@asynccontextmanager
async def _sources(given: Settings) -> AsyncIterator[MakeSource]:
    """Where the nodes come from: what makes each daemon its source, while this lasts.

    Kubernetes' client is loaded only where it is needed.
    """
    peers = given.peers
    if peers is not None:
        yield lambda chosen, _: FileSource(peers, chosen.node, lambda: cache.load(chosen))
        return
    from linen.flaxd.kubernetes import connected  # noqa: PLC0415
    from linen.kube import access  # noqa: PLC0415

    async with connected(access.load(given.kubeconfig), given.service_account) as make_source:
        yield make_source
