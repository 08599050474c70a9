# SPDX-License-Identifier: Apache-2.0
"""One call of the plugin: environment and standard input in, JSON and an exit status out.

Whatever arrives, the answer is a result or a CNI error object on standard output, never a
traceback.
"""

from __future__ import annotations

import posix

from linen import __version__
from linen.cni import config, request, result, versions
from linen.core import errors
from linen.light import sock
from linen.plugin import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.light.json import Json

INPUT_LIMIT = 16 << 20  # bytes; a configuration with 10,000 VTEPs has 200 KB
VERSION_PATIENCE = 0.5  # seconds that VERSION waits for an input, which it can do without


def run() -> int:
    """Answer one call. The process's exit status."""
    if not posix.environ.get(b"CNI_COMMAND"):
        write(2, f"linen {__version__}, a chained CNI plugin for overlays on Open vSwitch\n")
        write(2, f"CNI versions: {', '.join(versions.SUPPORTED)}\n")
        return 0
    call = Call()
    try:
        output, status = call.answer(), 0
    except errors.LinenError as error:
        output, status = result.failure(error, call.version), 1
    except Exception as error:  # noqa: BLE001  (the last line of defence: the runtime needs an answer)
        output, status = result.failure(_bug(error), call.version), 1
    if output:
        fault = write(1, output + "\n")
        if fault:
            write(2, f"linen: the answer cannot be written to standard output: {fault}\n")
            return 1
    return status


class Call:
    """One call. `version`: that of the configuration, as soon as it is known."""

    def __init__(self) -> None:
        self.version = versions.NEWEST

    def answer(self) -> str:
        """What goes to standard output. Raises `LinenError`."""
        asked = request.Request(posix.environ)
        if asked.command == "VERSION":
            return result.versions_answer(_asked_version())
        conf = config.decode(read_input())
        version = config.version_of(conf)
        versions.refuse_unsupported(version, asked.command)
        self.version = version
        if asked.command in ("DEL", "GC"):
            return ""
        return _carry_out(asked, conf)


def _carry_out(asked: request.Request, conf: dict[str, Json]) -> str:
    parsed = config.parse(conf)
    _refuse_own_netns(asked)
    handlers = {"ADD": commands.add, "CHECK": commands.check, "STATUS": commands.status}
    output = handlers[asked.command](asked, parsed)
    for warning in parsed.warnings:
        write(2, f"linen: warning: network {parsed.name}: {warning}\n")
    return output


def _refuse_own_netns(asked: request.Request) -> None:
    """A pod in the host's network namespace is a runtime's mistake (code 8 in CNI's library)."""
    if not asked.netns or asked.own_netns_allowed:
        return
    try:
        pods, ours = posix.stat(asked.netns), posix.stat("/proc/self/ns/net")
    except (OSError, ValueError):
        return  # it is the plugin before us that works inside of it
    if (pods.st_dev, pods.st_ino) == (ours.st_dev, ours.st_ino):
        raise errors.OwnNetns(
            f"CNI_NETNS {asked.netns} is the network namespace of the plugin itself",
            "it must be the pod's; CNI_NETNS_OVERRIDE=1 allows it all the same",
        )


def read_input() -> bytes:
    """All of standard input. Raises `InputUnreadable`."""
    pieces: list[bytes] = []
    size = 0
    while size <= INPUT_LIMIT:
        try:
            piece = posix.read(0, 1 << 16)
        except OSError as error:
            raise errors.InputUnreadable(
                f"standard input cannot be read: {error.strerror}",
                "the runtime writes the network configuration there",
            ) from None
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    raise errors.InputUnreadable(
        f"standard input is larger than {INPUT_LIMIT >> 20} MiB", "no network configuration is"
    )


def _asked_version() -> str:
    """The version that a VERSION request names, else our newest.

    Never waits for a terminal or an idle pipe.
    """
    if posix.isatty(0) or not sock.is_readable(0, VERSION_PATIENCE):
        return versions.NEWEST
    try:
        return config.version_of(config.decode(read_input()))
    except errors.LinenError:
        return versions.NEWEST


def write(descriptor: int, text: str) -> str:
    """Write all of `text`; why that failed, "" if it did not."""
    view = memoryview(text.encode("utf-8", "backslashreplace"))
    try:
        while view:
            view = view[posix.write(descriptor, view) :]
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _bug(error: Exception) -> errors.LinenError:
    """An error that nobody foresaw, with the place where it came from, in place of a traceback."""
    trace, where = error.__traceback__, "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return errors.LinenError(
        f"{type(error).__name__}: {error}",
        f"a bug in linen {__version__}, at {where}; please report it",
    )
