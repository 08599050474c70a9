# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with Kubernetes, drawn as a tree.

    LinenError
    └── KubernetesError
        ├── AccessInvalid     no usable kubeconfig or service account: only an administrator helps
        ├── ApiUnavailable    no answer, or "not now" (429, 5xx): a retry can help
        │   └── Silent        nothing more on a stream: what was asked for may be the reason
        └── ApiRefused        a 4xx: the same request will be refused again
            └── Expired       410: the revision to resume from is forgotten; list anew

The HTTP library's own exceptions do not leave `client`: it may be replaced.
"""

from __future__ import annotations

import random

from linen.core import errors


class KubernetesError(errors.LinenError):
    """Something is wrong with Kubernetes or the way to it."""


class AccessInvalid(KubernetesError):
    """The kubeconfig or the service account's files cannot be used; the message says why."""


class ApiUnavailable(KubernetesError):
    """The API server does not answer, or not now.

    `status`: the HTTP status, 0 if there was no answer. `retry_after`: seconds that the server asks
    to be left alone for, 0 if it does not say.
    """

    def __init__(self, message: str, status: int = 0, *, retry_after: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class Silent(ApiUnavailable):
    """The API server has sent nothing on a stream for longer than it does on one that lives."""


class ApiRefused(KubernetesError):
    """The API server refuses a request. `status`: the HTTP status, such as 403 or 404."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Expired(ApiRefused):
    """What happened since the given revision is forgotten (410 Gone)."""


def pause_asked_for(error: KubernetesError) -> float:
    """Seconds for which the API server asks to be left alone, and somewhat more.

    Those whom it refuses in one moment hear the same number, and would all be back in another one.
    """
    seconds: float = getattr(error, "retry_after", 0.0)
    return seconds * random.uniform(1, 1.5)  # noqa: S311  (spreads load, guards nothing)
