# SPDX-License-Identifier: Apache-2.0
"""docs/monitoring.md has every metric that there is, and no other."""

from __future__ import annotations

import re

import yaml
from prometheus_client.parser import text_string_to_metric_families

from linen.flaxd import health, metrics
from linen.flaxd.rules import Counts
from support.paths import CHECKOUT

TEXT = (CHECKOUT / "docs" / "monitoring.md").read_text(encoding="utf-8")
NAME = re.compile(r"\bflaxd_\w+")


def names() -> set[str]:
    """The names of all metrics as one would ask Prometheus for them."""
    now = metrics.Snapshot([], True, 0, True, 0.0, 0, 0, rules=Counts(0, 0, 0, 0, 0))
    text = metrics.Metrics(lambda: now).render().decode()
    families = text_string_to_metric_families(text)
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in families
        if family.name.startswith("flaxd_")
    }


def test_every_metric_is_documented() -> None:
    """The table has each metric of the daemon by its name, and no other."""
    table = {match[1] for match in re.finditer(r"^\| `(flaxd_\w+)` \|", TEXT, re.MULTILINE)}

    assert table == names()


def test_words_are_documented() -> None:
    """Each state of a peer and each outcome of a comparison is named."""
    for word in (*health.STATES, *metrics.OUTCOMES, "present", "pending", "refused", "missing"):
        assert f"`{word}`" in TEXT


def test_alerts_are_about_what_there_is() -> None:
    """The rules are YAML, and ask for no metric that does not exist."""
    (rules,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

    alerts = yaml.safe_load(rules)["groups"][0]["rules"]

    assert len(alerts) == rules.count("- alert:")
    for alert in alerts:
        asked = NAME.findall(alert["expr"])
        assert asked
        assert set(asked) <= names()
