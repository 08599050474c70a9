# SPDX-License-Identifier: Apache-2.0
"""One control plane for all tests here, which each of them finds and leaves without Nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from support.control_plane import temporary_control_plane
from support.host import wait_until
from support.kubernetes_nodes import KubernetesNodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.control_plane import ControlPlane
    from support.kubernetes_nodes import KubernetesNode


@pytest.fixture(scope="session")
def running_plane() -> Iterator[ControlPlane]:
    """A control plane with flaxd's service account, roles and policies."""
    with temporary_control_plane() as plane:
        plane.add_rights_of_flaxd()
        wait_until(lambda: is_policy_in_force(plane), "the API server to follow the policies", 30)
        yield plane


def is_policy_in_force(plane: ControlPlane) -> bool:
    """Whether the API server refuses what it should; it learns of policies some time later."""
    plane.add_node("one")
    plane.add_node("other")
    try:
        answer = httpx2.patch(
            f"{plane.url}/api/v1/nodes/other",
            json={"metadata": {"annotations": {"linen-cni/vtep": "10.0.0.1"}}},
            params={"dryRun": "All"},
            headers={
                "Authorization": f"Bearer {plane.request_token('linen-system/flaxd', 'one')}",
                "Content-Type": "application/merge-patch+json",
            },
            verify=plane.tls_context(),
            trust_env=False,
        )
    finally:
        plane.request("DELETE", "/api/v1/nodes")
    return answer.status_code == 422


@pytest.fixture
def plane(running_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane, without any Node."""
    yield running_plane
    running_plane.ensure_api_server()
    running_plane.request("DELETE", "/api/v1/nodes")


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[KubernetesNodes]:
    """A cluster without nodes."""
    with KubernetesNodes(plane) as empty:
        yield empty


@pytest.fixture
def node1(cluster: KubernetesNodes) -> KubernetesNode:
    """A registered node whose daemon does not run yet."""
    node = cluster.add("node1")
    node.register()
    return node
