# SPDX-License-Identifier: Apache-2.0
"""What containerd makes of an archive: the name, and the files with all that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.images import archive_of, end
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.host import Host

CONFIG = """
version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"]
[grpc]
address = "{folder}/containerd.sock"
[ttrpc]
address = "{folder}/containerd.sock.ttrpc"
"""


@pytest.fixture
def ctr(host: Host) -> Iterator[Callable[..., str]]:
    """What `ctr ARGUMENTS` prints, by a containerd of the test's own; mounts go with the host."""
    config = host.folder / "config.toml"
    config.write_text(CONFIG.format(folder=host.folder))
    socket = host.folder / "containerd.sock"
    daemon = host.start(
        "unshare", "--fork", "--kill-child", KUBERNETES / "containerd", "-c", config
    )
    wait_until(lambda: socket.exists() or daemon.poll(), "containerd", 30)
    yield lambda *argv: host.run(KUBERNETES / "ctr", "-a", socket, *argv, timeout=100).stdout
    end(daemon)


def test_an_import_has_the_name_and_the_capabilities(ctr: Callable[..., str], host: Host) -> None:
    """After `ctr images import` the image is there by its name, and unpacked with capabilities."""
    archive = archive_of("linen")
    version = archive.name.removeprefix("linen-").removesuffix(".oci.tar")
    name = f"localhost/linen:{version}"
    ctr("images", "import", archive)
    assert ctr("images", "list", "--quiet").split() == [name]
    root = host.folder / "mounted"
    root.mkdir()
    ctr("images", "mount", name, root)
    shown = host.run("getcap", root / "usr/libexec/linen/flaxd-python").stdout
    assert "cap_dac_override,cap_net_admin,cap_net_raw=ep" in shown
