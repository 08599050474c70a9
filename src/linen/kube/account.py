# SPDX-License-Identifier: Apache-2.0
"""The daemon's own service account: its deletion says that Linen is taken off the cluster.

Of all objects of an installation it is the one that nothing changes while the cluster runs, so that
a watch of it costs nothing. A DaemonSet changes with each of its pods, and is also deleted by who
only wants to make it anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linen.kube.objects import mapping


@dataclass(frozen=True, slots=True)
class Account:
    """A service account that exists."""

    name: str


@dataclass(frozen=True, slots=True)
class AccountName:
    """Which service account. Written NAMESPACE/NAME."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def collection(self) -> str:
        """The path of the service accounts of its namespace."""
        return f"{self.home}/serviceaccounts"

    @property
    def home(self) -> str:
        """The path of its namespace."""
        return f"/api/v1/namespaces/{self.namespace}"


def parse_account(found: Any, _before: Account | None = None) -> Account | None:  # noqa: ANN401
    """A service account as a watch keeps it; None for what has no name."""
    name = mapping(found, "metadata").get("name")
    return Account(name) if isinstance(name, str) else None


def is_ending(namespace: Any) -> bool:  # noqa: ANN401 (JSON as it comes)
    """Whether a namespace is being deleted, with everything in it."""
    return bool(mapping(namespace, "metadata").get("deletionTimestamp"))
