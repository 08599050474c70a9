# SPDX-License-Identifier: Apache-2.0
"""Makes a root file system of Debian's packages, as a tar file, by mmdebstrap.

Packages are unpacked and nothing more: no maintainer script runs, so another architecture needs no
emulator and no time, and two runs give the same bytes. record.py does the little that scripts
would have done.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = "trixie"  # the stable release; its Python's version stands in Containerfile and site.py
# What makes apt believe that a package is there.
BELIEVED = """\
Package: {name}
Status: install ok installed
Architecture: all
Multi-Arch: foreign
Version: 999:0
Maintainer: nobody
Description: not in this image

"""


def packages(name: str) -> list[str]:
    """The packages that NAME.packages lists."""
    lines = (HERE / f"{name}.packages").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def exclusions(name: str) -> list[Path]:
    """What of the packages' files stays out of every image, and of this one."""
    return [path for path in (HERE / "dpkg.cfg", HERE / f"{name}.cfg") if path.exists()]


def make(name: str, arch: str, output: Path) -> None:
    """Write the root file system of NAME.packages for `arch`, which is Debian's word for it."""
    with tempfile.TemporaryDirectory(prefix="linen-base-") as folder:
        believed = Path(folder, "status")
        believed.write_text("".join(BELIEVED.format(name=name) for name in packages("unwanted")))
        record = shlex.join([sys.executable, str(HERE / "record.py")])
        subprocess.run(
            [
                *("mmdebstrap", "--mode=root", "--variant=extract", "--format=tar"),
                *("--skip=cleanup", "--skip=output/dev"),
                f"--architectures={arch}",
                f"--include={','.join(packages(name))}",
                *(f"--dpkgopt={path}" for path in exclusions(name)),
                f'--setup-hook=cat {shlex.quote(str(believed))} >>"$1/var/lib/dpkg/status"',
                f'--extract-hook={record} "$1"',
                *(SUITE, output),
            ],
            check=True,
        )


def main() -> None:
    """Make one, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of a file NAME.packages beside this one")
    parser.add_argument("arch", help="amd64 or arm64")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    make(arguments.name, arguments.arch, arguments.output)


if __name__ == "__main__":
    main()
