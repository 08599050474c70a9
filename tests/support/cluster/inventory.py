# SPDX-License-Identifier: Apache-2.0
"""All that pods can leave behind on a node, one line for each thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.node import Node

ADDRESS = "address"  # the kind whose lines end in one
ATTACHMENT, NAMESPACE = "attachment", "network namespace"
OF_ONE_POD = (ADDRESS, ATTACHMENT, NAMESPACE)

_SET_NEIGHBOURS = ("ip", "neighbour", "show", "nud", "permanent")
# host-local remembers in these which address it gave last, and locks.
_NO_LEASES = ("-not", "-name", "last_reserved_ip.*", "-not", "-name", "lock")


def inventory(node: Node) -> set[str]:
    """What there is of links, addresses, rules… on a node, each as "KIND: what".

    Of neighbours those count that somebody set. What the kernel has learned is its cache: it has
    room for all addresses of a node's range, and is brought up to date by who gets one again.
    """
    found = {f"link: {name}" for name in node.links()}
    found |= {f"port of {row['type'] or 'the system'}: {row['name']}" for row in _ports(node)}
    found |= {f"{_kind(path)}: {path}" for path in _files(node, "/var/lib/cni", *_NO_LEASES)}
    found |= {f"{NAMESPACE}: {path}" for path in _namespaces(node)}
    found |= {f"neighbour: {name}" for name in _lines(node, *_SET_NEIGHBOURS)}
    found |= {f"route: {line}" for line in _lines(node, "ip", "route", "show", "table", "all")}
    found |= {f"rule: {rule}" for rule in _rules(node)}
    return found


def _ports(node: Node) -> list[dict[str, str]]:
    return node.records("Interface", "name", "type")


def _kind(path: str) -> str:
    """host-local has a file for each address, libcni one for each attachment."""
    return ADDRESS if "/networks/" in path else ATTACHMENT


def _namespaces(node: Node) -> list[str]:
    """Network namespaces; not the node's own, which CRI-O has there for pods that share it."""
    # `find` would compare other inodes: those of the files on which the namespaces are mounted.
    listed = node.run("sh", "-c", "stat --format='%i %n' /run/netns/*", check=False)
    for line in listed.stderr.splitlines():  # of those that go meanwhile, or of none at all
        assert line.endswith("No such file or directory"), line
    (own,) = _lines(node, "stat", "--dereference", "--format=%i", "/proc/1/ns/net")
    found = (line.split() for line in listed.stdout.splitlines())
    return [path for inode, path in found if inode != own]


def _files(node: Node, folder: str, *condition: str) -> list[str]:
    # The option comes first: a file that goes while `find` looks at it is no error.
    return _lines(node, "find", folder, "-ignore_readdir_race", "-type", "f", *condition)


def _rules(node: Node) -> Iterator[str]:
    """Lines of all tables of nftables, those of iptables among them, with the chain they are in."""
    table = chain = ""
    for line in _lines(node, "nft", "--stateless", "list", "ruleset"):
        match line.split():
            case ["table", *name, "{"]:
                table = " ".join(name)
            case ["chain" | "set" | "map" as kind, name, "{"]:
                chain = f"{kind} {name}"
        yield f"{table}, {chain}: {line}"


def _lines(node: Node, *argv: str) -> list[str]:
    return [line.strip() for line in node.run(*argv).stdout.splitlines()]
