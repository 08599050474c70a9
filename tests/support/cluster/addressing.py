# SPDX-License-Identifier: Apache-2.0
"""The addresses of a cluster: of one IP version, or of both, of which the first is preferred."""

from __future__ import annotations

from dataclasses import dataclass

from support.control_plane import SERVICES

_PODS = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
_SERVICES = {4: SERVICES, 6: "fd00:10:96::/112"}
_API_SERVER = {4: "10.96.0.1", 6: "fd00:10:96::1"}
_DNS = {4: "10.96.0.10", 6: "fd00:10:96::a"}
_PREFIXES = {4: 24, 6: 64}  # of the two networks between the nodes
_NODES = {4: "10.245.2.", 6: "fd00:10:245:2::"}
_TUNNELS = {4: "10.245.3.", 6: "fd00:10:245:3::"}


@dataclass(frozen=True)
class Addressing:
    """The addresses of a cluster whose nodes, pods and services have these versions of IP."""

    versions: tuple[int, ...]

    @property
    def pods(self) -> str:
        """The ranges of all pods, as Kubernetes' programs take them."""
        return ",".join(_PODS[version] for version in self.versions)

    @property
    def services(self) -> str:
        """The ranges of all services, likewise."""
        return ",".join(_SERVICES[version] for version in self.versions)

    @property
    def api_server(self) -> str:
        """The address by which pods know the API server."""
        return _API_SERVER[self.versions[0]]

    @property
    def dns(self) -> str:
        """The address of the service for names."""
        return _DNS[self.versions[0]]

    def nodes(self, number: int) -> dict[int, str]:
        """The addresses, by version, that somebody has among the nodes."""
        return {version: f"{_NODES[version]}{number}" for version in self.versions}

    def tunnels(self, number: int) -> str:
        """The address where a node's tunnels end."""
        return f"{_TUNNELS[self.versions[0]]}{number}"


def with_prefix(address: str) -> str:
    """An address in one of the networks between the nodes, with the length of its prefix."""
    return f"{address}/{_PREFIXES[6 if ':' in address else 4]}"


def in_url(address: str) -> str:
    """An address as URLs have it (RFC 3986, 3.2.2)."""
    return f"[{address}]" if ":" in address else address


IPV4, IPV6, BOTH = Addressing((4,)), Addressing((6,)), Addressing((4, 6))
