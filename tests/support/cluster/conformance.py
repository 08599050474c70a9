# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own tests of networks, on a cluster of three nodes with Linen: scripts/conformance.

Their pods' images are ours under the names that the tests ask for, so no registry is needed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from support.cluster import addressing, images
from support.cluster.linen import running_linen
from support.paths import CHECKOUT, KUBERNETES

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster

_TESTS = KUBERNETES / "e2e.test"
_REPORT = CHECKOUT / "build" / "conformance"  # kept of an emulated machine, too
_ADDRESSES = {"4": addressing.IPV4, "6": addressing.IPV6, "both": addressing.BOTH}
_AT_A_TIME = 4  # they wait most of the time
# By the last part of an image's name. A test of DNS is meant to see the libraries musl and glibc;
# ours see Debian's glibc twice, which says the same of the network. nginx only has to run.
_SUBSTITUTES = {
    "agnhost": images.AGNHOST,
    "glibc-dns-testing": images.AGNHOST,
    "nginx": images.AGNHOST,
    "pause": images.PAUSE,
}


def main() -> None:
    """Run what scripts/conformance says: the tests whose names match, on a cluster like that."""
    overlay, topology, proxy_mode, ip, focus = sys.argv[1:]
    settings = {"topology": topology} if topology else {}
    with running_linen(overlay, proxy_mode, _ADDRESSES[ip], **settings) as cluster:
        _rename_images(cluster)
        status = _run(cluster, focus)
    sys.exit(status)


def _rename_images(cluster: Cluster) -> None:
    """Give our images the names that the tests know them by."""
    listed = subprocess.run([_TESTS, "--list-images"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        if ours := _SUBSTITUTES.get(name.rpartition("/")[2].partition(":")[0]):
            for node in cluster.nodes.values():
                node.tag_image(ours, name)


def _run(cluster: Cluster, focus: str) -> int:
    """Run the tests from where the control plane is; ginkgo's exit status."""
    shutil.rmtree(_REPORT, ignore_errors=True)
    _REPORT.mkdir(parents=True)
    ginkgo = [
        str(KUBERNETES / "ginkgo"),
        f"--procs={_AT_A_TIME}",
        f"--focus={focus}",
        "--timeout=1h",
        "--no-color",
        "--silence-skips",
        f"--output-dir={_REPORT}",
        "--junit-report=junit.xml",
    ]
    tests = [
        str(_TESTS),
        "--",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--kubectl-path={KUBERNETES / 'kubectl'}",
        "--provider=local",
        "--disable-log-dump",
    ]
    done = subprocess.run([*cluster.fabric.inside, *ginkgo, *tests], cwd=_REPORT, check=False)
    return done.returncode


if __name__ == "__main__":
    main()
