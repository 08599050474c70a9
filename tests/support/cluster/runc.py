#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""runc for CRI-O, without what the machines of CI do not allow; containerd has options for both.

No container is spared by the OOM killer, which takes CAP_SYS_RESOURCE, and none has a limit of huge
pages, for which CRI-O wants a hierarchy of control groups that the kernel has and nobody mounted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

_RUNC = "/usr/sbin/runc"


def main() -> None:
    """Become runc with the same arguments; `--bundle FOLDER` has what a container is to be."""
    if "--bundle" in sys.argv:
        _relax(Path(sys.argv[sys.argv.index("--bundle") + 1], "config.json"))
    os.execv(_RUNC, [_RUNC, *sys.argv[1:]])  # noqa: S606


def _relax(path: Path) -> None:
    config = json.loads(path.read_text())
    process, resources = config["process"], config["linux"]["resources"]
    least = int(Path("/proc/self/oom_score_adj").read_text())
    process["oomScoreAdj"] = max(process.get("oomScoreAdj", least), least)
    resources.pop("hugepageLimits", None)
    path.write_text(json.dumps(config))


if __name__ == "__main__":
    main()
