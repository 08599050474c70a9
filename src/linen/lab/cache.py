# SPDX-License-Identifier: Apache-2.0
"""The cache of results that a CNI runtime keeps, in the format of libcni.

One file per attachment, `/var/lib/cni/results/<network>-<container id>-<ifname>`, as written by
`cacheAdd` in libcni/api.go; so cnitool can CHECK and DEL what the lab has added, and the lab
what cnitool has.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linen.lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from linen.lab.description import Conflist

_KIND = "cniCacheV1"
RESULTS = "var/lib/cni/results"


@dataclass(frozen=True)
class Attachment:
    """One interface of one container in one network, and how it came to be."""

    network: str
    container_id: str
    ifname: str
    netns: str
    conflist: Conflist
    result: dict[str, Any]
    capability_args: dict[str, Any]

    @property
    def file_name(self) -> str:
        """Where libcni looks for it."""
        return f"{self.network}-{self.container_id}-{self.ifname}"

    def addresses(self) -> list[str]:
        """List the container's addresses, with prefix lengths, of any result version."""
        configs = self.result.get("ips") or [
            self.result[family]
            for family in ("ip4", "ip6")
            if family in self.result  # up to 0.2.0
        ]
        return [config.get("address") or config["ip"] for config in configs]


def container_id_of(netns: str) -> str:
    """Derive a container id from a network namespace's path just as cnitool does."""
    return f"cnitool-{hashlib.sha512(netns.encode()).digest()[:10].hex()}"


def render_attachment(attachment: Attachment) -> str:
    """Turn an attachment into the cache file's content."""
    conflist = json.dumps(attachment.conflist).encode()
    values = {
        "kind": _KIND,
        "containerId": attachment.container_id,
        "config": base64.b64encode(conflist).decode(),
        "ifName": attachment.ifname,
        "networkName": attachment.network,
        "netns": attachment.netns,
        "capabilityArgs": attachment.capability_args,
        "result": attachment.result,
    }
    return json.dumps({key: value for key, value in values.items() if value})


def parse_attachment(content: str) -> Attachment:
    """Turn a cache file's content into an attachment."""
    values = json.loads(content)
    return Attachment(
        network=values["networkName"],
        container_id=values["containerId"],
        ifname=values["ifName"],
        netns=values.get("netns", ""),
        conflist=json.loads(base64.b64decode(values["config"])),
        result=values.get("result", {}),
        capability_args=values.get("capabilityArgs") or {},
    )


def read_attachments(root: Path) -> list[Attachment]:
    """Read all attachments of the machine whose file system is at `root`.

    LabError names a file that is none.
    """
    found = []
    for path in sorted((root / RESULTS).glob("[!.]*-*-*")):  # a dot: it is being written
        with contextlib.suppress(FileNotFoundError):  # deleted since
            found.append(_read_attachment(path))
    return found


def _read_attachment(path: Path) -> Attachment:
    try:
        return parse_attachment(path.read_text())
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{path}: no result that a CNI runtime has written ({error!r}); remove it"
        ) from error
