# SPDX-License-Identifier: Apache-2.0
"""What `linenctl install` has put where, so that `uninstall` takes that away and nothing else.

A JSON file: `files`, path → SHA-256 of what was written there; `databases`, the sockets of the
OVSDBs in which the installed conflists let the plugin make rows; and `linuxBridges`, name →
gateways' addresses of those that an uninstallation that failed has to remove when it is tried
again, for by then no conflist names them.
It is written before the files themselves, so that an interrupted install can be undone; a path
whose content is another one is not ours, whatever the record says.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from linen.host.errors import HostError
from linen.host.files import find_digest, remove_file, write_whole

STATE_DIR = "/var/lib/linen"
FILE = "installed.json"
ASIDE = ".unreadable"
KNOWN_NODES = "peers.json"  # where flaxd keeps the cluster's nodes, in a folder a network
RECORD_MODE = 0o644


def known_vteps(state_dir: Path, network: str) -> set[str]:
    """The tunnel addresses of all nodes that flaxd keeps, this one's included; none without it."""
    try:
        document = json.loads((state_dir / network / KNOWN_NODES).read_text(encoding="utf-8"))
        return {node["vtep"] for node in document["nodes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # the daemon, too, does without what it can't use


@dataclass
class Record:
    """The record of one host."""

    path: Path
    files: dict[str, str] = field(default_factory=dict)
    databases: set[str] = field(default_factory=set)
    linux_bridges: dict[str, list[str]] = field(default_factory=dict)
    is_anew: bool = False  # instead of a file that is no record; `write` sets that aside

    @classmethod
    def read(cls, folder: Path) -> Record:
        """The record in a folder; an empty one where nothing was installed. Raises `HostError`."""
        path = folder / FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            bridges = dict(document.get("linuxBridges", {}))
            return cls(path, dict(document["files"]), set(document["databases"]), bridges)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HostError(
                f"{path} is not readable as the record of what was installed ({error})",
                "remove it; files that were installed then stay, and `linenctl uninstall` says"
                " which",
            ) from None

    @classmethod
    def begin_anew(cls, folder: Path) -> Record:
        """An empty record in place of one that cannot be read."""
        return cls(folder / FILE, is_anew=True)

    @property
    def aside(self) -> Path:
        """Where a file goes that is no record."""
        return self.path.with_name(self.path.name + ASIDE)

    def owns(self, path: Path) -> bool:
        """Whether a file was installed by us and is as we left it; we make no links."""
        recorded = self.files.get(str(path))
        return recorded is not None and not path.is_symlink() and recorded == find_digest(path)

    def write(self) -> None:
        """Keep the record; one of nothing is no file."""
        if self.is_anew:
            with suppress(FileNotFoundError):  # another container did it at the same time
                self.path.replace(self.aside)
            self.is_anew = False
        if not self.files and not self.databases and not self.linux_bridges:
            remove_file(self.path)
            return
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        document = {
            "files": self.files,
            "databases": sorted(self.databases),
            "linuxBridges": self.linux_bridges,
        }
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        write_whole(self.path, text.encode(), RECORD_MODE)
