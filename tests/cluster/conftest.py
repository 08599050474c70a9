# SPDX-License-Identifier: Apache-2.0
"""One cluster of three nodes with Linen, for all tests here that leave it as they found it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.cluster import autopsy
from support.cluster.cluster import Cluster, running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pods import running_pods

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from support.cluster.pods import Pods

NODES = ("node1", "node2", "node3")
PATIENCE = 400  # seconds for a test, with the start of a cluster, on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests with clusters more time than others."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a test that fails what its nodes looked like then."""
    report = yield
    cluster = _cluster_of(item)
    if report.failed and cluster is not None:
        report.sections += [(name, autopsy.describe(node)) for name, node in cluster.nodes.items()]
    return report


def _cluster_of(item: pytest.Item) -> Cluster | None:
    values = getattr(item, "funcargs", {}).values()
    clusters = (value.cluster if isinstance(value, Linen) else value for value in values)
    return next((one for one in clusters if isinstance(one, Cluster)), None)


@pytest.fixture(scope="session")
def running() -> Iterator[Cluster]:
    """Three nodes with Open vSwitch, and no pod network yet."""
    with running_cluster() as cluster:
        cluster.add_nodes(*NODES, images=[image("linen")])
        yield cluster


@pytest.fixture(scope="session")
def installed(running: Cluster) -> Linen:
    """The same with Linen."""
    linen = Linen(running)
    linen.install()
    return linen


@pytest.fixture
def linen(installed: Linen) -> Iterator[Linen]:
    """Linen on a cluster that works, before the test and after it."""
    yield installed
    installed.wait_until_rolled_out()
    installed.cluster.wait_until_ready()
    installed.wait_for_tunnels(installed.cluster.nodes)


@pytest.fixture
def cluster(linen: Linen) -> Cluster:
    """The cluster that Linen is on."""
    return linen.cluster


@pytest.fixture
def pods_of_test(cluster: Cluster) -> Iterator[Pods]:
    """Where a test's pods belong that are to be gone after it."""
    with running_pods(cluster, "one-test") as pods:
        yield pods
