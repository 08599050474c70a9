# SPDX-License-Identifier: Apache-2.0
"""What `linenctl` cannot do on a cluster, in the words that its user reads."""

from __future__ import annotations

from linen.core.errors import LinenError


class RolloutError(LinenError):
    """kubectl or the cluster is not as needed; `details` has what would help."""


class KubectlFailed(RolloutError):
    """kubectl ended with an error. `details`: what it said."""
