# SPDX-License-Identifier: Apache-2.0
"""docs/monitoring.md has every metric that there is, and no other."""

from __future__ import annotations

import re
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from linen.flaxd import health, metrics
from linen.flaxd.rules import Counts
from support.paths import CHECKOUT

TEXT = (CHECKOUT / "docs" / "monitoring.md").read_text(encoding="utf-8")
NAME = re.compile(r"\bflaxd_\w+")
# What alerts ask for that is not the daemon's own: what Prometheus and kube-state-metrics know.
OTHERS = ('up{job="linen"}', 'kube_node_status_condition{condition="NetworkUnavailable"')


def example(key: str) -> dict[str, Any]:
    """The YAML in the document that begins with this key."""
    (text,) = re.findall(rf"```yaml\n({key}:\n.*?)```", TEXT, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def names() -> set[str]:
    """The names of all metrics as one would ask Prometheus for them."""
    now = metrics.Snapshot([], True, True, 0, True, 0.0, 0, 0, rules=Counts(0, 0, 0, 0, 0))
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
    """The rules are YAML, and ask for the job that is configured and metrics that there are."""
    alerts = example("groups")["groups"][0]["rules"]
    (job,) = example("scrape_configs")["scrape_configs"]

    assert len(alerts) == TEXT.count("- alert:")
    for alert in alerts:
        asked = NAME.findall(alert["expr"])
        assert asked or any(other in alert["expr"] for other in OTHERS)
        assert set(asked) <= names()
    assert f'up{{job="{job["job_name"]}"}}' in OTHERS
