# SPDX-License-Identifier: Apache-2.0
"""JSON by the C halves alone, with the standard package as the oracle."""

from __future__ import annotations

import json as oracle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linen.light import json

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(documents)
def test_reads_what_the_standard_package_writes(document: json.Json) -> None:
    """Every document comes back as it was, with any white space around it."""
    text = f" \r\n\t{oracle.dumps(document)}\n"

    assert document == json.loads(text.encode())


@given(documents)
def test_writes_what_the_standard_package_reads(document: json.Json) -> None:
    """Every document is written so that it reads as it was."""
    assert document == oracle.loads(json.dumps(document))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes, they are a document or they are refused."""
    try:
        json.loads(data)
    except json.JsonInvalid:
        return
    oracle.loads(data)


@pytest.mark.parametrize(
    "text", ["", "{", "{}}", "[1] 2", "NaN", "[Infinity]", "1e999", "'a'", '{"a": 1,}', "\ufeff{}"]
)
def test_refuses_what_is_no_json(text: str) -> None:
    """Text that RFC 8259 does not know is refused, also where the standard package is lenient."""
    with pytest.raises(json.JsonInvalid):
        json.loads(text.encode())


def test_deep_nesting() -> None:
    """A million brackets are refused, not a crash."""
    with pytest.raises(json.JsonInvalid, match="nested too deeply"):
        json.loads(b"[" * 1_000_000)


def test_lone_surrogate() -> None:
    """A lone surrogate, which Python cannot encode, passes through as it came."""
    text = '{"name": "\\ud800"}'

    assert text == json.dumps(json.loads(text.encode()))
