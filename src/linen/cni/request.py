# SPDX-License-Identifier: Apache-2.0
"""The CNI_* environment of one call, checked (SPEC.md 1.1, section 2, "Parameters")."""

from __future__ import annotations

from linen.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")

INTERFACE_NAME_LIMIT = 15  # IFNAMSIZ - 1, linux/if.h
ALPHANUMERIC = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


def interface_name_fault(name: str) -> str:
    """What is wrong with a network device's name, "" if nothing is."""
    if not name or len(name.encode("utf-8", "replace")) > INTERFACE_NAME_LIMIT:
        return f"must have 1 to {INTERFACE_NAME_LIMIT} bytes"
    if name in (".", ".."):
        return "must not be . or .."
    if not name.isprintable() or any(character in "/: " for character in name):
        return "must have no slash, colon, white space or control character"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "must have no half of a surrogate pair"  # JSON can write it, UTF-8 cannot
    return ""


def identifier_fault(value: str) -> str:
    """Why this can be no network's name and no container's id (SPEC.md); "" if it can."""
    if value[:1] not in ALPHANUMERIC or not set(value) <= ALPHANUMERIC | set("_.-"):
        return (
            "must begin with a letter or digit and have only letters, digits, _ . and - behind it"
        )
    return ""


def _path_fault(value: str) -> str:
    return "has a NUL byte" if "\0" in value else ""


# variable → the commands that require it, and what finds fault with its value
_VARIABLES: dict[str, tuple[tuple[str, ...], Callable[[str], str]]] = {
    "CNI_CONTAINERID": (("ADD", "DEL", "CHECK"), identifier_fault),
    "CNI_NETNS": (("ADD", "CHECK"), _path_fault),
    "CNI_IFNAME": (("ADD", "DEL", "CHECK"), interface_name_fault),
    "CNI_PATH": (("ADD", "DEL", "CHECK", "GC", "STATUS"), _path_fault),
}


class Request:
    """One call of the plugin.

    `netns`: path of the pod's network namespace, `ifname`: of its interface there; each "" where
    none was given.
    """

    __slots__ = ("command", "ifname", "netns", "own_netns_allowed")

    def __init__(self, environment: Mapping[bytes, bytes]) -> None:
        """Raises `EnvironmentInvalid` that names everything that is missing or wrong."""
        values = {
            name: environment.get(name.encode(), b"").decode("utf-8", "replace")
            for name in ("CNI_COMMAND", "CNI_NETNS_OVERRIDE", *_VARIABLES)
        }
        self.command = values["CNI_COMMAND"]
        if self.command not in COMMANDS:
            raise errors.EnvironmentInvalid(
                f"CNI_COMMAND is {self.command!r}", f"it must be one of {', '.join(COMMANDS)}"
            )
        missing, wrong = _faults(self.command, values)
        if missing:
            named = ", ".join(missing)
            wrong.insert(0, f"required environment variables are missing: {named}")
        if wrong:
            raise errors.EnvironmentInvalid("; ".join(wrong), f"for {self.command}")
        self.netns = values["CNI_NETNS"]
        self.ifname = values["CNI_IFNAME"]
        self.own_netns_allowed = values["CNI_NETNS_OVERRIDE"].upper() in ("1", "TRUE")


def _faults(command: str, values: Mapping[str, str]) -> tuple[list[str], list[str]]:
    missing, wrong = [], []
    for name, (commands, find_fault) in _VARIABLES.items():
        if command not in commands:
            continue
        if not values[name]:
            missing.append(name)
        elif fault := find_fault(values[name]):
            wrong.append(f"{name} {values[name]!r} {fault}")
    return missing, wrong
