# SPDX-License-Identifier: Apache-2.0
"""kubectl, the program: it knows the administrator's clusters, credentials and kustomizations."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linen.rollout.errors import KubectlFailed, RolloutError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one cluster; None where kubectl itself is to find the cluster."""

    kubeconfig: Path | None = None
    context: str | None = None

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What it printed. Raises `KubectlFailed`, and `RolloutError` where it is not installed."""
        access = []
        if self.kubeconfig is not None:
            access.append(f"--kubeconfig={self.kubeconfig}")
        if self.context is not None:
            access.append(f"--context={self.context}")
        try:
            done = subprocess.run(
                ["kubectl", *access, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise RolloutError(
                "kubectl is not in PATH",
                "install it: https://kubernetes.io/docs/tasks/tools/",
            ) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise KubectlFailed(f"kubectl {' '.join(arguments)} failed", said)
        return done.stdout
