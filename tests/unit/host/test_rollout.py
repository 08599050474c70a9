# SPDX-License-Identifier: Apache-2.0
"""Which clusters Linen is installed on: those whose API server understands its policies."""

from __future__ import annotations

import json

import pytest

from linen.host import rollout
from linen.host.errors import HostError
from linen.host.kubectl import Kubectl


class Version(Kubectl):
    """A kubectl whose API server has this version, major and minor."""

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What `kubectl version` prints; nothing else may be asked."""
        assert (arguments, stdin) == (("version", "--output=json"), "")
        major, minor = str(self.context).split(".")
        server = {"gitVersion": f"v{major}.{minor}.1", "major": major, "minor": minor}
        return json.dumps({"serverVersion": server})


@pytest.mark.parametrize("version", ["1.29", "1.30", "1.30+"])
def test_too_old(version: str) -> None:
    """An API server that would refuse the policies is refused, before anything is applied."""
    with pytest.raises(HostError, match=r"Linen needs 1\.31 or later"):
        rollout.require_version(Version(context=version))


@pytest.mark.parametrize("version", ["1.31", "1.31+", "1.37", "2.0"])
def test_new_enough(version: str) -> None:
    """From 1.31 on every version is taken, also with a provider's plus."""
    rollout.require_version(Version(context=version))
