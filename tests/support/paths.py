# SPDX-License-Identifier: Apache-2.0
"""Where things are: in the checkout, in what scripts/setup built, and in the distribution."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "examples"
FROZEN_PLUGIN = CHECKOUT / "bin" / "linen"
LINENCTL = (sys.executable, "-m", "linen.cli.main")  # the beginning of its command line

GO_TOOLS = CHECKOUT / ".cache" / "tools" / "bin"
CNITOOL = GO_TOOLS / "cnitool"
DEBIAN_PLUGINS = Path("/usr/lib/cni")
KUBERNETES = CHECKOUT / ".cache" / "kubernetes" / "bin"
CRIO = CHECKOUT / ".cache" / "crio" / "bin"
FLANNEL = CHECKOUT / ".cache" / "flannel"
MULTUS = CHECKOUT / ".cache" / "multus"
