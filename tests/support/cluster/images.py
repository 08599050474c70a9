# SPDX-License-Identifier: Apache-2.0
"""The images that the tests' pods are made of: pause, and agnhost, which has CoreDNS in it.

They are written by `python -m support.cluster.images FOLDER`, from programs that scripts/setup
built and, for what tests run in a pod by `kubectl exec`, from Debian's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from support.cluster import archive
from support.paths import KUBERNETES

PAUSE = "linen.test/pause:1"
AGNHOST = "linen.test/agnhost:1"

# What agnhost's own image has besides agnhost. Debian's busybox does the rest; its nc has no UDP,
# and its sh would prefer its own applets to these.
_PROGRAMS = {
    "bash": "bash",
    "curl": "curl",
    "dig": "dig",
    "getent": "getent",
    "ip": "ip",
    "nc": "nc.openbsd",
    "ping": "ping",
    "sh": "dash",
    "ss": "ss",
}


def main() -> None:
    """Write all images, and nothing that was there before stays."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive.write(folder / "pause.tar", PAUSE, _pause(), ["/pause"])
    archive.write(folder / "agnhost.tar", AGNHOST, _agnhost(), ["/agnhost"], ["pause"])


def _pause() -> archive.Layer:
    layer = base()
    layer.program("/pause", KUBERNETES / "pause")
    return layer


def _agnhost() -> archive.Layer:
    layer = base()
    for name in ("agnhost", "coredns"):
        layer.program(f"/{name}", KUBERNETES / name)
    for name in ("localhost.crt", "localhost.key"):  # of its sub-command porter
        layer.file(f"/{name}", (KUBERNETES / name).read_bytes())
    for name, program in _PROGRAMS.items():
        layer.program(f"/bin/{name}", find(program))
    add_busybox(layer)
    return layer


def base() -> archive.Layer:
    """The folders and files that any image has."""
    layer = archive.Layer()
    for path, mode in {"/bin": 0o755, "/etc": 0o755, "/tmp": 0o1777, "/root": 0o700}.items():
        layer.folder(path, mode)
    layer.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    layer.file("/etc/group", b"root:x:0:\n")
    layer.file("/etc/nsswitch.conf", b"hosts: files dns\n")
    return layer


def add_busybox(layer: archive.Layer) -> None:
    """Add the commands that are not in an image yet."""
    busybox = find("busybox")
    layer.program("/bin/busybox", busybox)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        layer.link(f"/bin/{applet}", "busybox")


def find(program: str) -> Path:
    """A program of this machine."""
    path = shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin")
    assert path, f"{program} is not there: run scripts/setup kubernetes"
    return Path(path).resolve()


if __name__ == "__main__":
    main()
