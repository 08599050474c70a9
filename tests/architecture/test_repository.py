# SPDX-License-Identifier: Apache-2.0
"""Promises about the repository itself: what is pinned, how long files are, how they begin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.paths import CHECKOUT

LONGEST = 400  # lines a person can keep in mind
SPDX = "SPDX-License-Identifier: Apache-2.0"
REQUIREMENTS = CHECKOUT / "requirements"
PINNED = sorted(REQUIREMENTS.glob("*.txt"))


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository, also those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return [CHECKOUT / name for name in done.stdout.split("\0") if (CHECKOUT / name).is_file()]


def shell_scripts() -> list[Path]:
    """The files that begin as a shell script does."""
    beginnings = {path: path.read_bytes()[:64].split(b"\n")[0] for path in tracked()}
    return [path for path, line in beginnings.items() if re.fullmatch(rb"#!.*\b(ba)?sh", line)]


def test_files_are_short() -> None:
    """No source file is longer than 400 lines."""
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("*.py", "*.sh", "*.c")}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_shell_scripts_name_their_licence_and_stop_at_errors() -> None:
    """A shell script that is run says its licence in line 2 and runs under `set -eu`."""
    for path in shell_scripts():
        text = path.read_text()
        assert SPDX in text.splitlines()[1], path
        assert re.search(r"^set -eu", text, re.MULTILINE), path
        assert os.access(path, os.X_OK), path


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_requirements_are_pinned_and_hashed(path: Path) -> None:
    """Every requirement has one exact version and hashes, and no file says where to download."""
    text = path.read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE))
    assert entries
    for entry in entries:
        assert re.match(r"\S+==\S+( ;.*)? \\\n", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text


def test_every_list_of_requirements_is_pinned() -> None:
    """Each requirements/NAME.in has its NAME.txt, and the other way round."""
    names = {path.stem for path in REQUIREMENTS.glob("*.in")}
    assert names == {path.stem for path in PINNED}


def test_project_depends_on_what_is_pinned() -> None:
    """The dependencies in pyproject.toml are those of requirements/runtime.in, by name."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=~!]", name)[0] for name in project["dependencies"]}
    lines = (REQUIREMENTS / "runtime.in").read_text().splitlines()
    assert wanted == {line for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize(
    "body",
    ["def test_it() -> None:\n    pytest.skip()", "pytest.skip(allow_module_level=True)"],
    ids=["test", "module"],
)
def test_skip_is_a_failure(body: str, tmp_path: Path) -> None:
    """Under NO_SKIPS a skipped test, or a module skipped as a whole, fails the run."""
    (tmp_path / "test_skip.py").write_text(f"import pytest\n{body}\n")
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-c", os.devnull, str(tmp_path)]
    env = {"PYTHONPATH": str(CHECKOUT / "tests"), "NO_SKIPS": "1", "PATH": os.defpath}

    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, check=False)

    assert done.returncode in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    assert b"a skip counts as a failure here" in done.stdout
