# SPDX-License-Identifier: Apache-2.0
"""`flaxd --help`, which docs/flaxd.md leaves the settings to."""

from __future__ import annotations

from click.testing import CliRunner

from linen.flaxd.main import main
from linen.host.settings import SETTINGS


def test_every_setting_with_its_default() -> None:
    """Each setting is listed, and with it the default that it would be given as."""
    done = CliRunner().invoke(main, ["--help"], terminal_width=1000)

    lines = {line.split()[0]: line for line in done.output.splitlines() if " --" in line}
    assert {f"--{name}" for name in SETTINGS} <= lines.keys()
    assert lines["--cluster-range"].endswith("[10.244.0.0/16]")
    assert lines["--listen"].endswith("[127.0.0.1:9474]")
    assert lines["--conflist"].endswith("[/etc/cni/net.d/linen.conflist]")
    assert lines["--bfd-interval"].endswith("[1000]")
    for name, setting in SETTINGS.items():
        assert setting.default is None or lines[f"--{name}"].endswith("]"), name
