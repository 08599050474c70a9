# SPDX-License-Identifier: Apache-2.0
"""The benchmarks that scripts/bench knows before anything is set up."""

from __future__ import annotations

import ast
import subprocess

from support.paths import CHECKOUT


def test_script_and_program_know_the_same() -> None:
    """A benchmark that the script refuses, or one that fails after minutes of set-up, is none."""
    tree = ast.parse((CHECKOUT / "bench" / "__main__.py").read_text())
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BENCHMARKS"
    )
    assert isinstance(table, ast.Dict)
    names = [ast.literal_eval(key) for key in table.keys if key is not None]

    done = subprocess.run(
        [CHECKOUT / "scripts" / "bench", "--help"], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == f"The benchmarks: {' '.join(names)}"


def test_a_wrong_name_is_refused_at_once() -> None:
    """The error names those that there are."""
    done = subprocess.run(
        [CHECKOUT / "scripts" / "bench", "flaxd-joins"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "no benchmark flaxd-joins" in done.stderr
    assert "flaxd-join " in done.stderr
