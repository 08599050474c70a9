# SPDX-License-Identifier: Apache-2.0
"""The errors of Linen, drawn as a tree; each knows its CNI error code.

    LinenError                   999  a bug of ours, where nothing below fits
    ├── VersionUnsupported         1  the configuration's cniVersion
    ├── EnvironmentInvalid         4  the CNI_* variables
    ├── InputUnreadable            5  standard input
    ├── InputNotJson               6
    ├── ConfigInvalid              7  the network configuration; carries every fault that was found
    ├── OwnNetns                   8  CNI_NETNS is the plugin's own network namespace
    ├── Unavailable               11  OVSDB or ovs-vswitchd is not there (yet): a retry can help
    │   └── VswitchdStopped       11  OVSDB is, ovs-vswitchd is not
    ├── NotReady                  50  STATUS: no ADD would succeed
    │   └── NotReadyAndDegraded   51  STATUS: and running containers may be cut off
    ├── OverlayDiffers           100  CHECK: something of ours is not as it should be
    ├── OvsRefused               101  Open vSwitch reports an error for something of ours
    └── Conflict                 102  what we need belongs to somebody else, or to another network

Codes up to 99 are those of the CNI specification (SPEC.md, "Error"); from 100 on they are ours.
"""

from __future__ import annotations


class LinenError(Exception):
    """`message` says what is wrong and where, `details` what would be right or what was seen."""

    code = 999

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @property
    def sentence(self) -> str:
        """Both, for where there is one line."""
        return f"{self.message}; {self.details}" if self.details else self.message


class VersionUnsupported(LinenError):
    """The configuration's `cniVersion` is not one of ours, or lacks the command."""

    code = 1


class EnvironmentInvalid(LinenError):
    """A CNI_* variable is missing or malformed."""

    code = 4


class InputUnreadable(LinenError):
    """Standard input is closed, or larger than any configuration."""

    code = 5


class InputNotJson(LinenError):
    """Standard input is not a JSON object."""

    code = 6


class ConfigInvalid(LinenError):
    """The network configuration is wrong; the message names every fault."""

    code = 7


class OwnNetns(LinenError):
    """CNI_NETNS is the plugin's own network namespace."""

    code = 8


class Unavailable(LinenError):
    """OVSDB, ovs-vswitchd or the kernel's datapath is not there (yet)."""

    code = 11


class VswitchdStopped(Unavailable):
    """OVSDB answers, but no ovs-vswitchd serves it."""


class NotReady(LinenError):
    """STATUS: no ADD would succeed."""

    code = 50


class NotReadyAndDegraded(NotReady):
    """STATUS: no ADD would succeed, and running containers may be cut off."""

    code = 51


class OverlayDiffers(LinenError):
    """CHECK: something of ours is not as ADD left it."""

    code = 100


class OvsRefused(LinenError):
    """Open vSwitch could not make an interface of ours."""

    code = 101


class Conflict(LinenError):
    """What is needed belongs to somebody else, or to another network."""

    code = 102
