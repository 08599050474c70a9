# SPDX-License-Identifier: Apache-2.0
"""Where something is mounted, as the kernel says it."""

from __future__ import annotations

from linen.lab.keeper import mount_points

MOUNTINFO = r"""22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:20 / /var/my\040disk\134040 rw - tmpfs none rw
24 22 0:21 / /var/été rw - tmpfs none rw
""".encode()


def test_mount_points() -> None:
    """What the kernel has escaped is as it was before, and so is what is not ASCII."""
    assert mount_points(MOUNTINFO) == ["/", r"/var/my disk\040", "/var/été"]


def test_a_path_of_odd_bytes() -> None:
    """A path need not be UTF-8."""
    (path,) = mount_points(b"23 22 0:20 / /var/\xe9 rw - tmpfs none rw\n")

    assert path.encode(errors="surrogateescape") == b"/var/\xe9"
