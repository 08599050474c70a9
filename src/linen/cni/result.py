# SPDX-License-Identifier: Apache-2.0
"""The answer to the runtime: the chain's result passed on, or an error (SPEC.md 1.1, section 5)."""

from __future__ import annotations

from linen.cni import options, versions
from linen.core import errors
from linen.light import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from linen.light.json import Json


def passed_on(prev_result: dict[str, Json], version: str) -> str:
    """The result of the plugin before us as it is, fields that we do not know included."""
    return json.dumps(prev_result | {"cniVersion": version})


def versions_answer(asked: str) -> str:
    """The answer to VERSION."""
    return json.dumps({"cniVersion": asked, "supportedVersions": list(versions.SUPPORTED)})


def failure(error: errors.LinenError, version: str) -> str:
    """The error object that a runtime expects on standard output."""
    answer: dict[str, Json] = {"cniVersion": version, "code": error.code, "msg": error.message}
    if error.details:
        answer["details"] = error.details
    return json.dumps(answer)


def addresses(prev_result: dict[str, Json]) -> list[str]:
    """The pod's addresses with their prefix lengths, as the plugin before us wrote them."""
    ips = prev_result.get("ips")
    listed = ips if isinstance(ips, list) else []  # before 0.3.0 it was two objects
    older = [prev_result.get(key) for key in ("ip4", "ip6")]
    found = [one.get("address") for one in listed if isinstance(one, dict)]
    found += [one.get("ip") for one in older if isinstance(one, dict)]
    return [text for text in found if isinstance(text, str)]


def host_interfaces(prev_result: dict[str, Json]) -> list[str]:
    """The names of the result's interfaces on the host's side. Any of them may be the Linux bridge.

    Empty for results older than 0.3.0, which know no interfaces. Raises `ConfigInvalid`.
    """
    interfaces = prev_result.get("interfaces")
    if interfaces is None:
        return []
    if not isinstance(interfaces, list):
        raise errors.ConfigInvalid(
            f"prevResult.interfaces: must be a list, is {options.kind(interfaces)}"
        )
    names = []
    for index, interface in enumerate(interfaces):
        name = interface.get("name") if isinstance(interface, dict) else None
        if not isinstance(name, str):
            raise errors.ConfigInvalid(
                f"prevResult.interfaces[{index}]: must be an object with a name, is"
                f" {options.kind(interface)}"
            )
        if not interface.get("sandbox"):
            names.append(name)
    return names
