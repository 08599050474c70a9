# SPDX-License-Identifier: Apache-2.0
"""An ADD that Open vSwitch refuses takes back its own, and nothing that others rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chain.conftest import feed, is_asked_to_look
from support.cni import Answer
from support.host import wait_until

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.host import Host

REFUSED = {"local_ip": "flow"}  # by Open vSwitch, for a tunnel that leads to one node


def tunnels(host: Host) -> dict[str, dict[str, Any]]:
    """By the peer, the rows of all tunnels."""
    rows = host.records("Interface", "name", "type", "options", "ofport")
    return {row["options"]["remote_ip"]: row for row in rows if row["type"] == "vxlan"}


def all_work(host: Host) -> bool:
    """Whether Open vSwitch has made all tunnels."""
    return all(row["ofport"] > 0 for row in tunnels(host).values())


def test_working_tunnels_are_as_they_were(attached: Attached) -> None:
    """Options that Open vSwitch refuses leave running pods the tunnels that they have."""
    attached.call("ADD").result()

    attached.call("ADD", attached.with_options(tunnelOptions=REFUSED)).error(101)

    attached.call("CHECK").assert_empty_success()
    wait_until(lambda: all_work(attached.host), "the tunnels to be made again")


def test_a_switch_that_looks_once(attached: Attached) -> None:
    """Options are taken back as well where ovs-vswitchd, asked once more, is too busy to answer."""
    host = attached.host
    attached.call("ADD").result()
    host.signal("STOP", "ovs-vswitchd")  # from here on the test does what it would
    failing = attached.start_add("a")
    feed(failing, attached.with_options(tunnelOptions=REFUSED))
    wait_until(lambda: is_asked_to_look(host), "the failing ADD's change")
    (root,) = host.records("Open_vSwitch", "next_cfg")
    said = ["--", "set", "open_vswitch", ".", f"cur_cfg={root['next_cfg']}"]
    for row in tunnels(host).values():
        said += ["--", "set", "interface", row["name"], "error=refused"]
    host.vsctl("--no-wait", *said)

    assert "refused" in Answer.of(failing).error(101)

    assert all("local_ip" not in row["options"] for row in tunnels(host).values())


def test_another_networks_tunnels_stay(attached: Attached) -> None:
    """An OVS bridge that another ADD uses by now stays, though it was made by one that fails."""
    host = attached.host
    failing, other = (attached.start_add(pod) for pod in "ab")
    host.signal("STOP", "ovs-vswitchd")
    feed(failing, attached.with_options(tunnelOptions=REFUSED))
    wait_until(lambda: host.vsctl("list-br") == "br0", "the failing ADD's rows")
    feed(other, attached.with_options(vtepIPs=["10.245.2.9"]) | {"name": "blue"})
    wait_until(lambda: "10.245.2.9" in tunnels(host), "the other ADD's rows")
    host.signal("CONT", "ovs-vswitchd")

    Answer.of(failing).error(101)
    Answer.of(other).result()

    assert tunnels(host).keys() == {"10.245.2.9"}


def test_corrected_options_win(attached: Attached) -> None:
    """Tunnels that another ADD of the network has put right stay, though one that fails made them.

    So it is while a conflist is being corrected on a node that has just started.
    """
    host = attached.host
    failing, other = (attached.start_add(pod) for pod in "ab")
    host.signal("STOP", "ovs-vswitchd")
    feed(failing, attached.with_options(tunnelOptions=REFUSED))
    wait_until(lambda: host.vsctl("list-br") == "br0", "the failing ADD's rows")
    feed(other, attached.conf())
    wait_until(
        lambda: all("local_ip" not in row["options"] for row in tunnels(host).values()),
        "the other ADD's corrections",
    )
    host.signal("CONT", "ovs-vswitchd")

    Answer.of(other).result()
    Answer.of(failing)

    attached.call("CHECK").assert_empty_success()
