# SPDX-License-Identifier: Apache-2.0
"""Build the plugin as one static file: bin/linen, or bin/linen-ARCH for another machine.

The file is the distribution's CPython library, linked with the C files of this folder and
with the bytecode of the plugin's modules (freeze.py), and with the memory of a Python that
has been started and has imported them (image.h). Equal sources, compiler and CPython give
equal bytes, wherever and whenever they are built. docs/design/static-build.md has the why.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import freeze
import host
from archive import CPython

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SRC = ROOT / "src"
# CPython's internal tables and start-up phases differ from release to release; those of
# Debian 12, Ubuntu 24.04 and Debian 13 are known to work.
RELEASES = {(3, 11), (3, 12), (3, 13)}
CFLAGS = (
    "-O2",
    f"-ffile-prefix-map={ROOT}=.",
    "-DNDEBUG",  # as the library was built; an assertion would also carry its file name
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
    "-Wno-unused-parameter",
)
WRAPPED = ("malloc", "calloc", "realloc", "free", "pthread_self")  # memory.c, interpreter.c
LDFLAGS = (
    *("-static", "-no-pie", "-s", "-Wl,--build-id=none"),
    *(f"-Wl,--wrap={name}" for name in WRAPPED),
    *("-T", str(HERE / "image.ld")),
)


def parse_args(native: str) -> argparse.Namespace:
    """Read the command line of build.sh."""
    parser = argparse.ArgumentParser(
        prog="build.sh",
        description="Build the CNI plugin linen as one static file, from the distribution's"
        " own CPython. As root, what is missing is installed by apt.",
    )
    parser.add_argument(
        "--arch", choices=sorted(host.TRIPLETS), default=native, help="default: %(default)s"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"default: bin/linen for {native}, bin/linen-ARCH for another architecture",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / ".cache",
        help="folder for what is downloaded (default: .cache)",
    )
    return parser.parse_args()


def write_headers(build: Path) -> None:
    """Freeze the plugin's modules, and the import system, into build/modules.h and code.h."""
    builtins = freeze.read_list(ROOT / "packaging" / "builtin-modules.txt")
    names = freeze.read_list(ROOT / "packaging" / "plugin-modules.txt")
    modules = [freeze.load(name, SRC) for name in names]
    freeze.check_imports(modules, builtins, SRC)
    importlib = freeze.load("importlib._bootstrap", Path(sysconfig.get_path("stdlib")))
    (build / "modules.h").write_text(freeze.render_lists(modules, builtins), "utf-8")
    (build / "code.h").write_text(freeze.render_code([importlib, *modules]), "utf-8")


def link(cpython: CPython, arch: str, build: Path) -> None:
    """Compile the C files and link them with CPython to build/starter, which has no image."""
    include = [f"-I{path}" for path in (build, HERE, cpython.include, cpython.include.parent)]
    internal = [f"-I{cpython.include}/internal", "-DPy_BUILD_CORE_MODULE"]
    sources = {path.with_suffix(".o").name: [str(path)] for path in sorted(HERE.glob("*.c"))}
    units = sources | {"_json.o": [*internal, str(cpython.json_c)]}
    for name, args in units.items():
        host.run(host.tool(arch, "gcc"), *CFLAGS, *include, *args, "-c", "-o", name, cwd=build)
    host.run(
        *(host.tool(arch, "gcc"), *LDFLAGS, *units, str(cpython.library), "-lm", "-o", "starter"),
        cwd=build,
    )


def add_image(arch: str, build: Path) -> Path:
    """Let build/starter make the image, and put that into it; return the finished program."""
    host.run(*host.emulator(arch), "./starter", cwd=build)
    replace = ("--update-section", "image=image")
    host.run(host.tool(arch, "objcopy"), *replace, "starter", "linen", cwd=build)
    return build / "linen"


def put_in_place(executable: Path, output: Path) -> None:
    """Move the finished program to `output`, which may be on another file system, in one step."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        shutil.move(executable, temporary)
        temporary.chmod(0o755)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def build(arch: str, output: Path, cache: Path) -> None:
    """Build the plugin for `arch` as the file `output`."""
    if sys.version_info[:2] not in RELEASES:
        raise host.BuildError(f"/usr/bin/python3 is {sys.version.split()[0]}, not 3.11 to 3.13")
    if arch not in host.TRIPLETS:
        raise host.BuildError(f"{arch} is none of {', '.join(host.TRIPLETS)}: choose with --arch")
    host.ensure_toolchain(arch)
    release = "{}.{}".format(*sys.version_info)
    installed = host.python_package_version(release)
    cpython = CPython(cache.resolve(), release, installed, arch)
    folder = ROOT / "build" / "static" / arch
    folder.mkdir(parents=True, exist_ok=True)
    write_headers(folder)
    link(cpython, arch, folder)
    put_in_place(add_image(arch, folder), output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, CPython {release}, {arch}")


def main() -> int:
    """Run the build; return its exit status."""
    try:
        native = host.native_architecture()
        args = parse_args(native)
        name = "linen" if args.arch == native else f"linen-{args.arch}"
        build(args.arch, args.output or ROOT / "bin" / name, args.cache)
    except (host.BuildError, freeze.FreezeError) as error:
        print(f"build.sh: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
