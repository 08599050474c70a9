# SPDX-License-Identifier: Apache-2.0
"""Start-up: how long a program takes that has nothing to do, the floor of every CNI call."""

from __future__ import annotations

import sys

from bench.node import BRIDGE, HOST_LOCAL, LINEN, cni_call, program, running_node
from bench.results import Outcome, Series, ratio, shuffled

OURS = "linen VERSION"
ROUNDS = (30, 300)  # quick, thorough


def measure(rounds: int) -> Outcome:
    """Time VERSION of each plugin, and programs that do nothing at all."""
    invocations = {
        "/bin/true": program("/bin/true"),
        OURS: cni_call(LINEN, "VERSION"),
        "bridge VERSION (Go)": cni_call(BRIDGE, "VERSION"),
        "host-local VERSION (Go)": cni_call(HOST_LOCAL, "VERSION"),
        "python3 -I -S -c pass": program("/usr/bin/python3", "-I", "-S", "-c", "pass"),
        "python -m linen.plugin, VERSION": program(
            sys.executable, "-I", "-m", "linen.plugin", CNI_COMMAND="VERSION"
        ),
    }
    series = {label: Series(label) for label in invocations}
    with running_node() as node:
        for _ in range(rounds):
            for label in shuffled(invocations):
                series[label].samples.append(node.run(invocations[label]).sample)
    others = [label for label in invocations if label != OURS]
    facts = {f"{OURS} / {label}": ratio(series[OURS], series[label]) for label in others}
    return Outcome(list(series.values()), facts=facts)
