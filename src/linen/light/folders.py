# SPDX-License-Identifier: Apache-2.0
"""What a folder's inode tells."""

from __future__ import annotations

import posix


def is_removed(folder: str) -> bool:
    """Whether a folder has a path and yet no name anywhere.

    A mount, as a pod has it, keeps a removed folder, and in that nothing can be made.
    """
    try:
        return posix.stat(folder).st_nlink == 0
    except OSError:
        return False
