# SPDX-License-Identifier: Apache-2.0
"""CHECK: passes right after ADD, and says exactly what is wrong once something is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cni import call

if TYPE_CHECKING:
    from chain.conftest import Attached
    from support.cni import Chain


def test_passes_after_add(chain: Chain) -> None:
    """CHECK of the whole chain, bridge's comparison of MAC addresses included, passes after ADD."""
    chain.add("one")
    chain.add("two")

    for pod in ("one", "two"):
        assert chain.check(pod).status == 0, chain.check(pod)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (("del-port", "vxif10_245_2_3"), ("10.245.2.3", "missing")),
        (("set", "Interface", "vxif10_245_2_3", "options:remote_ip=10.9.9.9"), ("10.245.2.3",)),
        (("set", "Interface", "vxif10_245_2_3", "options:key=5"), ("vxif10_245_2_3", "key=5")),
        (("set", "Port", "vxif10_245_2_3", "protected=true"), ("vxif10_245_2_3", "protected")),
        (("set", "Bridge", "br0", "fail_mode=secure"), ("br0", "fail_mode", "secure")),
        (("set", "Bridge", "br0", "rstp_enable=true"), ("br0", "rstp")),
        (("del-controller", "br0"), ("tcp:192.168.2.100:6653", "br0")),
        (("del-br", "br0"), ("br0", "missing")),
    ],
    ids=" ".join,
)
def test_names_what_is_wrong(attached: Attached, damage: list[str], named: list[str]) -> None:
    """What was changed by hand in OVSDB is named in an error with code 100."""
    attached.call("ADD").result()
    attached.call("CHECK").assert_empty_success()
    attached.host.vsctl(*damage)

    text = attached.call("CHECK").error(100)

    assert [word for word in named if word not in text] == []


def test_names_a_lost_protection(attached: Attached) -> None:
    """In a mesh, a tunnel that may forward to others is an error: it is a loop."""
    mesh = attached.with_options(topology="mesh")
    attached.call("ADD", mesh).result()
    attached.host.vsctl("set", "Port", "vxif10_245_2_3", "protected=false")

    text = attached.call("CHECK", mesh).error(100)

    assert "vxif10_245_2_3" in text
    assert "protected" in text


@pytest.mark.parametrize("change", [("nomaster",), ("down",)])
def test_names_a_cut_between_the_bridges(attached: Attached, change: tuple[str, ...]) -> None:
    """An OVS bridge that is off its Linux bridge, or down, is an error."""
    attached.call("ADD").result()
    attached.host.run("ip", "link", "set", "br0", *change)

    assert "br0" in attached.call("CHECK").error(100)


def test_names_the_wrong_linux_bridge(attached: Attached) -> None:
    """An OVS bridge that hangs on another Linux bridge is an error that names both."""
    attached.call("ADD").result()
    attached.host.run("ip", "link", "add", "other0", "type", "bridge")
    attached.host.run("ip", "link", "set", "br0", "master", "other0")

    assert "device br0 hangs on other0 instead of kbr0" in attached.call("CHECK").error(100)


def test_all_differences_are_named_at_once(attached: Attached) -> None:
    """CHECK does not stop at the first difference."""
    attached.call("ADD").result()
    attached.host.vsctl("del-port", "vxif10_245_2_3", "--", "del-controller", "br0")
    attached.host.run("ip", "link", "set", "br0", "nomaster")

    text = attached.call("CHECK").error(100)

    wanted = ("10.245.2.3", "tcp:192.168.2.100:6653", "kbr0")
    assert [word for word in wanted if word not in text] == []


def test_changes_nothing(attached: Attached) -> None:
    """CHECK only looks: what is broken stays broken."""
    attached.call("ADD").result()
    attached.host.vsctl("del-port", "vxif10_245_2_3")

    attached.call("CHECK").error(100)
    attached.call("CHECK").error(100)

    assert "vxif10_245_2_3" not in attached.host.vsctl("list-ports", "br0")


def test_fails_when_ovsdb_is_away(attached: Attached) -> None:
    """A daemon that ADD needs and that is not there is an error of CHECK, naming its socket."""
    attached.call("ADD").result()
    attached.host.signal("KILL", "ovsdb-server")

    assert "/var/run/openvswitch/db.sock" in attached.call("CHECK").error(11)


def test_result_is_needed(attached: Attached) -> None:
    """CHECK without the result to check is a wrong configuration."""
    conf = attached.conf()
    del conf["prevResult"]

    assert "prevResult" in call(attached.host, attached.plugin, "CHECK", conf).error(7)


def test_fails_in_the_chain_with_our_words(chain: Chain) -> None:
    """The runtime's user reads what is wrong, in our words."""
    chain.add("one")
    chain.host.vsctl("del-port", "vxif10_245_2_4")

    answer = chain.check("one")

    assert answer.status == 1
    assert "10.245.2.4" in answer.stderr
