# SPDX-License-Identifier: Apache-2.0
"""The static binary, built afresh from the checkout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support.frozen import build
from support.paths import CHECKOUT, FROZEN_PLUGIN

if TYPE_CHECKING:
    from pathlib import Path

sys.path.append(str(CHECKOUT / "packaging" / "static"))  # the freezer's modules, for its tests


@pytest.fixture(scope="session")
def binary() -> Path:
    """bin/linen, built from the checkout as it is."""
    build()
    return FROZEN_PLUGIN
