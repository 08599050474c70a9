# SPDX-License-Identifier: Apache-2.0
"""What cannot be done on this host, in the words that an administrator reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core.errors import LinenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linen.host.findings import Finding


class HostError(LinenError):
    """Something on this host is not as needed; `details` has what would help."""


class ConflistRefused(HostError):
    """A conflist has errors, so it is not installed."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message, "nothing was installed")
        self.findings = findings
