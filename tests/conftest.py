# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every test on a real host, and the rule that a skipped test is a failed one.

What could not be tried is not known to work: with CI or NO_SKIPS set, as scripts/test does,
a skip is a failure.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from support.host import Host, running_host
from support.paths import DEBIAN_PLUGINS, FROZEN_PLUGIN, GO_TOOLS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# A busy machine is no reason for a test to fail.
hypothesis.settings.register_profile("linen", deadline=None)
hypothesis.settings.load_profile("linen")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test's report."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the report of a module, which can be skipped as a whole."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    strict = os.environ.get("NO_SKIPS") or os.environ.get("CI")
    if strict and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a skip counts as a failure here: {report.longrepr}"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path, as unix sockets need (107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="linen-") as folder:
        yield Path(folder)


@pytest.fixture
def host(short_folder: Path) -> Iterator[Host]:
    """A host of the test's own, with Open vSwitch running and nothing configured."""
    with running_host(short_folder) as running:
        yield running


@pytest.fixture(scope="session")
def plain_plugin() -> Iterator[Path]:
    """The plugin as Python modules: a `linen` that runs this checkout's sources."""
    with tempfile.TemporaryDirectory(prefix="linen-plain-") as folder:
        script = Path(folder, "linen")
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m linen.plugin "$@"\n')
        script.chmod(0o755)
        yield script


@pytest.fixture(params=["plain", "frozen"])
def plugin(request: pytest.FixtureRequest) -> Path:
    """The plugin in both its forms, as Python modules and as bin/linen."""
    if request.param == "plain":
        plain: Path = request.getfixturevalue("plain_plugin")
        return plain
    if not FROZEN_PLUGIN.exists():
        pytest.fail(f"{FROZEN_PLUGIN} is not there: run ./build.sh")
    return FROZEN_PLUGIN


@pytest.fixture
def cni_path(plugin: Path, short_folder: Path) -> Path:
    """A folder with our plugin and the current reference plugins."""
    return _plugin_folder(short_folder / "cni", plugin, GO_TOOLS)


@pytest.fixture
def debian_cni_path(plugin: Path, short_folder: Path) -> Path:
    """A folder with our plugin and the distribution's reference plugins."""
    return _plugin_folder(short_folder / "cni-debian", plugin, DEBIAN_PLUGINS)


def _plugin_folder(folder: Path, linen: Path, reference: Path) -> Path:
    if not (reference / "bridge").exists():
        pytest.fail(f"{reference}/bridge is not there: run scripts/setup test")
    folder.mkdir()
    for program in reference.iterdir():
        (folder / program.name).symlink_to(program)
    (folder / "linen").symlink_to(linen)
    return folder
