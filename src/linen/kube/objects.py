# SPDX-License-Identifier: Apache-2.0
"""Ways into JSON that anybody may have written: what is not of the right kind counts as empty."""

from __future__ import annotations

from typing import Any


def mapping(found: Any, key: str) -> dict[str, Any]:  # noqa: ANN401 (JSON as it comes)
    """The object at `key`, empty where there is none."""
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}


def items(found: dict[str, Any], key: str) -> list[Any]:
    """The array at `key`, empty where there is none."""
    value = found.get(key)
    return value if isinstance(value, list) else []
