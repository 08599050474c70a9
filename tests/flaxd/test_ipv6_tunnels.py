# SPDX-License-Identifier: Apache-2.0
"""Tunnels over IPv6 on a real host: their names, one IP version for all nodes, and how many."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.daemons import Flaxd, running_flaxd
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from support.host import Host

NODE1 = "fd00:10:245::1"
# Two addresses whose hashes, and so first names, are the same.
TWINS = ["fd00:6240:4e0f:6c82:4a0f::1", "fd00:68d0:666e:5207:5056::1"]


@pytest.fixture
def peers(node1: Host) -> Path:
    """The file of nodes, of which there are none but node1."""
    node1.run("ip", "address", "add", f"{NODE1}/64", "dev", "eth0", "nodad")
    path = node1.folder / "peers.json"
    write(path, [])
    return path


@pytest.fixture
def flaxd(node1: Host, settings: dict[str, Any], peers: Path) -> Iterator[Flaxd]:
    """Node1's daemon, once its overlay works."""
    with running_flaxd(node1, **settings | {"peers": peers}) as daemon:
        daemon.wait_for("the overlay works")
        yield daemon


def write(path: Path, vteps: Iterable[str]) -> None:
    """Have a cluster of node1 and of a node for each of these tunnel addresses."""
    nodes = [{"name": "node1", "vtep": NODE1, "ranges": ["10.244.1.0/24"]}]
    nodes += [{"name": f"peer{number:03}", "vtep": vtep} for number, vtep in enumerate(vteps)]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"clusterRange": "10.244.0.0/16", "nodes": nodes}))
    temporary.rename(path)


def names(host: Host) -> dict[str, str]:
    """By the address that it leads to, each tunnel's name."""
    rows = host.records("Interface", "name", "type", "options")
    return {row["options"]["remote_ip"]: row["name"] for row in rows if row["type"] == "vxlan"}


def test_one_name_however_an_address_is_written(node1: Host, peers: Path, flaxd: Flaxd) -> None:
    """A tunnel stays when its peer's address is written otherwise; its name has 15 bytes."""
    write(peers, ["FD00:10:245:0:0:0:0:00AB"])
    wait_until(lambda: list(names(node1)) == ["fd00:10:245::ab"], "the tunnel")
    (name,) = names(node1).values()
    assert len(name) <= 15
    before = flaxd.log

    write(peers, ["fd00:10:245::ab", "fd00:10:245::cd"])

    wait_until(lambda: len(names(node1)) == 2, "the other tunnel")
    assert names(node1)["fd00:10:245::ab"] == name
    assert "remove tunnel" not in flaxd.log[len(before) :]


def test_addresses_with_one_hash(node1: Host, peers: Path, flaxd: Flaxd) -> None:
    """Two peers whose tunnels would have one name both get a tunnel, together or one by one."""
    write(peers, TWINS[:1])
    wait_until(lambda: set(names(node1)) == set(TWINS[:1]), "a tunnel")
    write(peers, TWINS)
    wait_until(lambda: set(names(node1)) == set(TWINS), "both tunnels")
    write(peers, [])
    wait_until(lambda: names(node1) == {}, "the tunnels to go")

    write(peers, TWINS)

    wait_until(lambda: set(names(node1)) == set(TWINS), "both tunnels again")
    wait_until(lambda: flaxd.get("/readyz")[0] == 200, "ready")
    assert "try again" not in flaxd.log


def test_nodes_of_another_version(node1: Host, peers: Path, flaxd: Flaxd) -> None:
    """A node with a tunnel address of the other IP version gets no tunnel, and that is told."""
    write(peers, ["10.245.0.7", "fd00:10:245::7"])

    flaxd.wait_for("no tunnel to node peer000: VTEP addresses there are of IPv4, here of IPv6")
    wait_until(lambda: list(names(node1)) == ["fd00:10:245::7"], "the other tunnel")


def test_an_ipv4_address_that_is_written_as_ipv6(peers: Path, flaxd: Flaxd) -> None:
    """Such an address is refused, and what to write instead is said."""
    write(peers, ["::ffff:10.245.0.7"])

    flaxd.wait_for("'::ffff:10.245.0.7' is an IPv4 address: write 10.245.0.7")


@pytest.mark.parametrize(
    ("count", "tunnels", "said"),
    [
        (500, 500, "500 other nodes or more are many"),
        (605, 600, "more than 600 other nodes are too many"),
    ],
)
def test_a_large_mesh(
    node1: Host, peers: Path, flaxd: Flaxd, count: int, tunnels: int, said: str
) -> None:
    """A mesh that comes near its limit, or is beyond it, says so, why, and what to do."""
    write(peers, [f"fd00:10:245::1:{number:x}" for number in range(count)])

    flaxd.wait_for(f"{said} for a mesh: beyond 600 tunnels Open vSwitch no longer delivers")
    wait_until(lambda: len(names(node1)) == tunnels, f"{tunnels} tunnels", 60)
    (fault,) = (one for one in flaxd.state()["faults"] if said in one)
    assert "use topology flow" in fault
