# SPDX-License-Identifier: Apache-2.0
"""The network configuration that arrives on standard input, checked."""

from __future__ import annotations

from linen.cni import options, request, versions
from linen.core import errors
from linen.light import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.core.model import OverlayOptions
    from linen.light.json import Json


class Config:
    """One network's configuration.

    `prev_result` is None where the chain has no plugin before this one.

    `warnings` are for the administrator; the configuration works all the same.
    """

    __slots__ = ("name", "options", "prev_result", "version", "warnings")

    def __init__(
        self,
        name: str,
        version: str,
        overlay: OverlayOptions,
        prev_result: dict[str, Json] | None,
        warnings: list[str],
    ) -> None:
        self.name = name
        self.version = version
        self.options = overlay
        self.prev_result = prev_result
        self.warnings = warnings


def decode(data: bytes) -> dict[str, Json]:
    """The JSON object in `data`. Raises `InputNotJson`."""
    try:
        document = json.loads(data)
    except json.JsonInvalid as error:
        empty = "" if data.strip() else "; it is empty"
        raise errors.InputNotJson(
            f"standard input is not a network configuration: {error}{empty}",
            "a JSON object is expected, as SPEC.md 1.1, section 1, describes it",
        ) from None
    if not isinstance(document, dict):
        raise errors.InputNotJson(
            f"standard input is {options.kind(document)}, not a network configuration",
            "a JSON object is expected, as SPEC.md 1.1, section 1, describes it",
        )
    return document


def version_of(conf: dict[str, Json]) -> str:
    """The configuration's version, which is the answer's too. One without any is of 0.1.0."""
    version = conf.get("cniVersion") or versions.UNVERSIONED
    return version if isinstance(version, str) else options.kind(version)


def parse(conf: dict[str, Json]) -> Config:
    """A configuration of a supported version.

    Raises `ConfigInvalid` with everything that is wrong with it.
    """
    faults: list[str] = []
    warnings: list[str] = []
    name = conf.get("name")
    if not isinstance(name, str) or not name:
        faults.append(f"name: must be the network's name, is {options.kind(name)}")
    elif fault := request.identifier_fault(name):
        faults.append(f"name: {options.kind(name)} {fault}")
    overlay = options.parse(conf, faults, warnings)
    prev_result = conf.get("prevResult")
    if prev_result is not None and not isinstance(prev_result, dict):
        faults.append(f"prevResult: must be an object, is {options.kind(prev_result)}")
    if faults:
        raise errors.ConfigInvalid(
            "; ".join(faults), "every option is described in the README, under “Options”"
        )
    return Config(str(name), version_of(conf), overlay, prev_result, warnings)
