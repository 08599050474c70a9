# SPDX-License-Identifier: Apache-2.0
"""Labs for the tests; one that only looks and pings can be shared by the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.lab.cluster import Lab
from linen.lab.description import TOPOLOGIES, Topology, describe
from support.labs import fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.node import Node


@pytest.fixture(scope="module", params=TOPOLOGIES)
def overlay(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three nodes with a pod on each (a, b, c), as a star and as a mesh."""
    topology: Topology = request.param
    with Lab.started(describe(3, topology, name=fresh_name())) as lab:
        for node, pod in zip(lab.nodes, "abc", strict=True):
            lab.add_pod(node, pod)
        yield lab


@pytest.fixture(scope="module")
def node_lab() -> Iterator[Lab]:
    """A lab of one node, without pods."""
    with Lab.started(describe(1, name=fresh_name())) as lab:
        yield lab


@pytest.fixture
def lab(node_lab: Lab) -> Iterator[Lab]:
    """The module's lab of one node; its pods are removed after each test."""
    yield node_lab
    for pod in node_lab.pods():
        node_lab.del_pod(pod.name)


@pytest.fixture
def node(lab: Lab) -> Node:
    """The only node of `lab`."""
    return lab.node("node1")


@pytest.fixture
def lab_name() -> str:
    """The name of a lab that the test starts itself."""
    return fresh_name()
