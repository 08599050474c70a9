# SPDX-License-Identifier: Apache-2.0
"""What `linenctl lab` prints is what is there: nothing is taken for markup, nor for an emoji."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from linen.cli import lab_views
from linen.cli.console import stdout, table
from linen.lab.cache import Attachment
from linen.lab.runtime import Addition, PluginCall

if TYPE_CHECKING:
    from linen.lab.cluster import Lab

ADDRESS = "fd00:10:244:a::a"  # node10's first; `:a:` is a red letter in rich's language
SENTENCE = f"[bold]{'word ' * 40}{ADDRESS}"


def test_tables_are_literal(capsys: pytest.CaptureFixture[str]) -> None:
    """A cell shows its text."""
    shown = table("Address")
    shown.add_row(f"[b]{ADDRESS}")

    stdout().print(shown)

    assert capsys.readouterr().out.split() == ["Address", f"[b]{ADDRESS}"]


def test_a_lab_is_literal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show` prints addresses and the switch as they are."""
    node = {"name": "node10", "vtep": ADDRESS, "root": "/proc/1/root", "ovs": SENTENCE}
    pods = [{"name": "pod1", "addresses": [ADDRESS]}]
    monkeypatch.setattr(lab_views, "render_lab", lambda _: {"nodes": [{**node, "pods": pods}]})

    lab_views.print_lab(cast("Lab", None))

    out = capsys.readouterr().out
    assert out.count(ADDRESS) == 3
    assert SENTENCE in out


def test_an_addition_is_literal(capsys: pytest.CaptureFixture[str]) -> None:
    """`add-pod` remarks addresses and what plugins say as they are, each on one line."""
    result = {"ips": [{"address": f"{ADDRESS}/48"}]}
    attachment = Attachment("net", "id", "eth0", "/run/netns/a", {}, result, {})

    lab_views.print_addition(Addition(attachment, (PluginCall("linen", 0.01, SENTENCE),)))

    assert capsys.readouterr().err.splitlines() == [
        f"linen: {SENTENCE}",
        f"a eth0: {ADDRESS}/48 in net: 10.0 ms (linen 10.0)",
    ]
