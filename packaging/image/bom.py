# SPDX-License-Identifier: Apache-2.0
"""Writes an image's bill of materials, as CycloneDX 1.6: what is inside, as the image itself says.

Debian's packages by dpkg's status, Python distributions by their metadata, Go modules by what the
linker wrote into each program; of the plugin, which says nothing, by what it was linked with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
import tempfile
import uuid
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

if TYPE_CHECKING:
    from collections.abc import Iterator

DISTRO = "debian-13"  # of base.SUITE
PLUGIN = "usr/lib/linen/linen"
GO_PROGRAMS = "usr/lib/cni/"
WANTED = ("var/lib/dpkg/status", "METADATA", PLUGIN)


class Image:
    """One image of an OCI layout: what it is for, and the files that tell what is in it."""

    def __init__(self, layout: Path, folder: Path) -> None:
        """Unpack the files that matter into `folder`."""
        self.folder = folder
        (image,) = json.loads((layout / "index.json").read_bytes())["manifests"]
        self.digest: str = image["digest"]
        blobs = layout / "blobs"
        manifest = json.loads((blobs / self.digest.replace(":", "/")).read_bytes())
        config = json.loads((blobs / manifest["config"]["digest"].replace(":", "/")).read_bytes())
        self.arch: str = config["architecture"]
        for layer in manifest["layers"]:
            with tarfile.open(blobs / layer["digest"].replace(":", "/")) as archive:
                for member in filter(matters, archive):
                    self._keep(archive, member)

    def _keep(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self.folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content := archive.extractfile(member):
            path.write_bytes(content.read())

    def find(self, pattern: str) -> list[Path]:
        """The files that match, in order of their names."""
        return sorted(self.folder.glob(pattern))


def matters(member: tarfile.TarInfo) -> bool:
    """Whether this file of a layer tells what is in the image."""
    return member.isfile() and (member.name.endswith(WANTED) or member.name.startswith(GO_PROGRAMS))


def component(
    url: PackageURL, licence: str | None = None, kind: ComponentType = ComponentType.LIBRARY
) -> Component:
    """A thing that has a package URL, by which scanners look it up."""
    return Component(
        type=kind,
        name=url.name,
        group=url.namespace if url.type == "golang" else None,
        version=url.version,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else None,
    )


def debian_packages(image: Image) -> Iterator[Component]:
    """Debian's packages; security notices name them by their source."""
    for status in image.find("var/lib/dpkg/status"):
        for paragraph in status.read_text().strip().split("\n\n"):
            fields = HeaderParser().parsestr(paragraph)
            qualifiers = {"arch": fields["Architecture"], "distro": DISTRO}
            if fields["Source"]:
                source, _, version = fields["Source"].rstrip(")").partition(" (")
                qualifiers["upstream"] = f"{source}@{version}" if version else source
            name, version = fields["Package"], fields["Version"]
            yield component(PackageURL("deb", "debian", name, version, qualifiers))


def python_distributions(image: Image) -> Iterator[Component]:
    """What pip installed, Linen itself among it."""
    for metadata in image.find("usr/**/*.dist-info/METADATA"):
        fields = HeaderParser().parsestr(metadata.read_text())
        url = PackageURL("pypi", None, fields["Name"].lower(), fields["Version"])
        yield component(url, fields["License-Expression"])


def go_modules(image: Image, go: str) -> Iterator[Component]:
    """The modules of the programs in Go, and Go's standard library."""
    modules = set()
    for program in image.find(f"{GO_PROGRAMS}*"):
        asked = subprocess.run(
            [go, "version", "-m", "-json", program], check=True, stdout=subprocess.PIPE
        )
        built = json.loads(asked.stdout)
        modules.add(("stdlib", built["GoVersion"].removeprefix("go")))
        modules |= {(mod["Path"], mod["Version"]) for mod in [built["Main"], *built["Deps"]]}
    for path, version in sorted(modules):
        namespace, _, name = path.rpartition("/")
        yield component(PackageURL("golang", namespace, name, version))


def plugin(image: Image, version: str, linked: list[str]) -> Iterator[Component]:
    """The static plugin, and the packages of the building machine that are linked into it."""
    if image.find(PLUGIN):
        url = PackageURL("generic", None, "linen", version)
        program = component(url, "Apache-2.0", ComponentType.APPLICATION)
        for package in linked:
            distro, name, its_version = package.split("=")
            qualifiers = {"arch": image.arch, "distro": distro}
            part = PackageURL("deb", distro.split("-")[0], name, its_version, qualifiers)
            program.components.add(component(part))
        yield program


def describe(image: Image, name: str, version: str, components: list[Component]) -> str:
    """The bill of materials in JSON; the same image has the same bill."""
    subject = Component(
        type=ComponentType.CONTAINER, name=name, version=version, bom_ref=image.digest
    )
    bom = Bom(
        components=components,
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image.digest),
        metadata=BomMetaData(component=subject, timestamp=datetime.fromtimestamp(0, UTC)),
    )
    bom.register_dependency(subject, components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def main() -> None:
    """Write the bill of materials that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--go", default="go", help="the program  [%(default)s]")
    parser.add_argument(
        "--linked", action="append", default=[], help="DISTRO=PACKAGE=VERSION in the plugin"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="linen-bom-") as folder:
        image = Image(arguments.layout, Path(folder))
        components = [
            *debian_packages(image),
            *python_distributions(image),
            *go_modules(image, arguments.go),
            *plugin(image, arguments.version, arguments.linked),
        ]
        text = describe(image, arguments.name, arguments.version, components)
    arguments.output.write_text(text)


if __name__ == "__main__":
    main()
