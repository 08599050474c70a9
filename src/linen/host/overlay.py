# SPDX-License-Identifier: Apache-2.0
"""What the next ADD would find and change: the plugin's own core, asked without writing.

The same questions and the same plan as in `linen.plugin.overlay`; tests/cli holds one against the
other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core import desired, naming, observed, planner
from linen.host.inventory import unreadable
from linen.ovsdb.blocking import TransactionError

if TYPE_CHECKING:
    from linen.core.plan import Plan
    from linen.host.conflists import Network
    from linen.netlink.blocking import Netlink
    from linen.ovsdb.blocking import Connection


def find_plan(network: Network, connection: Connection, netlink: Netlink, mtu: int | None) -> Plan:
    """Compare one network with its OVSDB. Raises `Unavailable` or `Conflict`."""
    try:
        return _find_plan(network, connection, netlink, mtu)
    except TransactionError as error:
        raise unreadable(connection.path, error) from None


def _find_plan(network: Network, connection: Connection, netlink: Netlink, mtu: int | None) -> Plan:
    options = network.options
    questions = observed.questions(options.ovs_bridge, network.name, naming.MAKER_PLUGIN)
    seen = observed.answers(connection.transact(questions), network.name)
    spec = desired.overlay_spec(
        options,
        network=network.name,
        maker=naming.MAKER_PLUGIN,
        mtu=mtu,
        own_addresses=netlink.own_addresses(options.vteps),
        segment=[str(pods.subnet) for pods in network.pod_ranges],
    )
    return connection.converse(planner.find_plan(spec, seen))
