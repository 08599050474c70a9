# SPDX-License-Identifier: Apache-2.0
"""One network's part of this node's Open vSwitch: looked at, and made to be as it should.

Many ADDs may run at once, on a host where nothing exists yet, so `ensure` never holds a lock and
never sleeps: it looks, writes one guarded transaction, and looks again, until there is nothing
left to do. Who loses a race sees the winner's work and goes on from there.
"""

from __future__ import annotations

from linen.cni import result
from linen.core import (
    desired,
    errors,
    explain,
    model,
    naming,
    observed,
    place,
    planner,
    transaction,
    undo,
)
from linen.light import sock
from linen.netlink.blocking import OVS_DATAPATH_FAMILY, has_generic_family
from linen.ovsdb import vswitchd
from linen.ovsdb.blocking import Connection, TransactionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from linen.cni.config import Config
    from linen.core.plan import Plan, Step
    from linen.light.json import Json
    from linen.netlink.blocking import Netlink

PATIENCE = 4.5  # seconds for all talk with OVSDB, so that an answer is out within 5
RESERVE = 0.5  # seconds of them, for what is to be done when ovs-vswitchd has let us wait
ATTEMPTS = 200  # reads; twenty ADDs at once on a fresh host need three or four each


class Overlay:
    """The overlay of one call's network.

    `before_writing`: is told what is there, and raises where that has to stay as it is.
    Opening it raises `Unavailable` where OVSDB is not there.
    """

    def __init__(
        self,
        config: Config,
        netlink: Netlink,
        mtu: int | None = None,
        before_writing: Callable[[model.Observed], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._netlink = netlink
        self._mtu = mtu
        self._before_writing = before_writing
        self._has_bridge = False  # whether the OVS bridge was seen, or made
        self._connection = Connection(config.options.ovsdb, sock.Deadline(PATIENCE))

    def look(self) -> Plan:
        """Read all that this network owns, and compare. Raises `Unavailable` or `Conflict`."""
        network, options = self._config.name, self._config.options
        if not vswitchd.is_running(self._connection.path):
            raise vswitchd.stopped(self._connection.path)
        questions = observed.questions(options.ovs_bridge, network, naming.MAKER_PLUGIN)
        try:
            results = self._connection.transact(questions)
        except TransactionError as error:
            raise self._misunderstood(error) from None
        seen = observed.answers(results, network)
        if seen.bridge is None:
            self.refuse_foreign_device()
        spec = self._spec(())
        missing = planner.missing_tunnels(spec, seen)
        # With none missing, one may still lead to this very node: a pod that starts before the
        # underlay is set up has a tunnel made to each address of a list that all nodes share.
        remotes = [tunnel.remote for tunnel in missing or spec.tunnels]
        own = self._netlink.own_addresses(remotes if missing else sock.find_bindable(remotes))
        if own:
            spec = self._spec(own)
        return self._connection.converse(planner.find_plan(spec, seen))

    def examine(self) -> Plan:
        """`look`, and again where Open vSwitch reports errors, which may be of options of before.

        Where ovs-vswitchd does not look anew in time, what it has said stands.
        """
        plan = self.look()
        if refusals(plan) and self._have_errors_renewed():
            plan = self.look()
        return plan

    def ensure(self) -> tuple[Plan, bool]:
        """Make the overlay as it should be: the empty plan in the end, and whether it was changed.

        Raises `Unavailable`, also where the OVS bridge was there and is gone, `Conflict`, or
        `OvsRefused` after what Open vSwitch refused has been taken back, as far as this call had
        brought it about.
        """
        done: list[Step] = []
        are_errors_current = False
        for attempt in range(ATTEMPTS):
            plan = self.look()
            self._refuse_removed(plan)
            if plan.steps:
                self._refuse_absent_datapath(plan)
                self._before_writing(plan.seen)
                done += self._commit(plan)
                self._has_bridge = self._has_bridge or bool(done)
                are_errors_current = False
            elif self._is_served(plan):
                said = refusals(plan)
                if not said:
                    return plan, attempt > 0
                # They may be of options that another ADD, or flaxd, has put right just now.
                if are_errors_current or not self._have_errors_renewed():
                    self._take_back(plan, done)
                    self.refuse_foreign_device()
                    raise refused(said)
                are_errors_current = True
        raise errors.Unavailable(
            f"OVSDB at {self._connection.path} keeps being changed by somebody else",
            f"after {ATTEMPTS} attempts there is still to do:"
            f" {'; '.join(explain.faults(plan.spec.bridge, plan.steps))}",
        )

    def ensure_anew(self) -> None:
        """`ensure`, once an ovs-vswitchd that has just started has made what OVSDB lists."""
        self._have_all_looked_at()
        self.ensure()

    def refuse_foreign_device(self) -> None:
        """Raises `Conflict` where another device has the OVS bridge's name."""
        place.refuse_foreign(self._netlink.find_link(self._config.options.ovs_bridge))

    def _spec(self, own: set[str] | tuple[()]) -> model.OverlaySpec:
        return desired.overlay_spec(
            self._config.options,
            network=self._config.name,
            maker=naming.MAKER_PLUGIN,
            mtu=self._mtu,
            own_addresses=own,
            segment=result.addresses(self._config.prev_result or {}),
        )

    def _commit(self, plan: Plan) -> Sequence[Step]:
        """Carry out the steps. Those that were; none where somebody else was quicker."""
        try:
            results = self._connection.transact(transaction.operations(plan))
        except TransactionError as error:
            if error.kind in transaction.RACE_LOST:
                return ()
            raise self._misunderstood(error) from None
        self._await_look(results)
        return plan.steps

    def _have_errors_renewed(self) -> bool:
        """`_have_all_looked_at`; whether it has done so in time."""
        try:
            self._have_all_looked_at()
        except (errors.Unavailable, TransactionError):
            return False
        return True

    def _have_all_looked_at(self) -> None:
        """Have ovs-vswitchd look at its configuration once more, and wait until it has."""
        self._await_look(self._connection.transact(transaction.ANNOUNCEMENT))

    def _await_look(self, results: list[Json]) -> None:
        """Wait until ovs-vswitchd has dealt with what a transaction told it of, if it did."""
        number = transaction.announced(results)
        if number is None:
            return
        seen = number - 1
        while seen < number:
            operations = transaction.until_looked(seen, self._milliseconds())
            _, found = self._wait(operations, "heed a change")
            seen = found["rows"][0]["cur_cfg"]

    def _is_served(self, plan: Plan) -> bool:
        """Whether ovs-vswitchd had dealt with all interfaces of ours. If not, it has by now."""
        pending = {row.uuid: name for name, row in plan.interfaces() if row.ofport is None}
        if pending:
            operations = transaction.until_dealt_with(list(pending), self._milliseconds())
            self._wait(operations, f"make {', '.join(pending.values())}")
        return not pending

    def _wait(self, operations: list[Json], what: str) -> list[Json]:
        """The results of a transaction that lasts until ovs-vswitchd has done its part."""
        try:
            return self._connection.transact(operations)
        except TransactionError as error:
            if error.kind != "timed out":
                raise self._misunderstood(error) from None
        raise errors.Unavailable(
            f"ovs-vswitchd did not {what} in time; OVSDB is at {self._connection.path}",
            "see ovs-vswitchd.log for the reason",
        )

    def _milliseconds(self) -> int:
        """For how long the server may wait, so that there is time to take back what was refused."""
        return int(max(self._connection.deadline.remaining() - RESERVE, 0) * 1000)

    def _refuse_removed(self, plan: Plan) -> None:
        """Who has taken the OVS bridge away meanwhile may be taking Linen off this node."""
        if plan.seen.bridge is not None:
            self._has_bridge = True
        elif self._has_bridge:
            raise errors.Unavailable(
                f"OVS bridge {plan.spec.bridge} was removed while an ADD was under way;"
                f" OVSDB is at {self._connection.path}",
                "a retry makes it anew, which is wrong only while Linen is taken off this node",
            )

    def _refuse_absent_datapath(self, plan: Plan) -> None:
        """Without its kernel module Open vSwitch would log an error and leave us to wait."""
        if plan.seen.bridge is None and not plan.spec.datapath_type:
            refuse_absent_kernel_datapath()

    def _take_back(self, plan: Plan, done: Sequence[Step]) -> None:
        """Undo what Open vSwitch refused of this call's steps.

        What it cannot undo the next ADD mends, so its own errors don't count.
        """
        try:
            operations = self._connection.converse(undo.find_operations(plan.seen, done))
            if operations:
                self._connection.transact(operations)
        except errors.LinenError:
            return

    def _misunderstood(self, error: TransactionError) -> errors.LinenError:
        return errors.LinenError(
            f"OVSDB at {self._connection.path} refuses a transaction: {error}",
            f"Open vSwitch {model.OLDEST_OVS} or newer is needed; otherwise this is a bug in linen",
        )


def refusals(plan: Plan) -> list[str]:
    """What Open vSwitch says about interfaces of ours that it could not make.

    Of those that the plan is about to change or remove it says nothing that lasts.
    """
    changing = plan.interfaces_about_to_change()
    refused_rows = [(name, row) for name, row in plan.interfaces() if row.refusal]
    return [_fault(name, row.refusal) for name, row in refused_rows if row.uuid not in changing]


def refused(said: Sequence[str]) -> errors.OvsRefused:
    """The error of a plan with these `refusals`."""
    hint = "`ovs-vsctl list interface NAME` shows all of a row"
    if any("File exists" in text for text in said):
        hint = f"another port has this remote address and key already; {hint}"
    return errors.OvsRefused(f"Open vSwitch reports an error: {'; '.join(said)}", hint)


def _fault(name: str, text: str) -> str:
    """What is wrong with an interface, whose name Open vSwitch mostly puts first itself."""
    return text if text.startswith(f"{name}:") else f"{name}: {text}"


def refuse_absent_kernel_datapath() -> None:
    """Raises `Unavailable` where the kernel has no Open vSwitch datapath."""
    if not has_generic_family(OVS_DATAPATH_FAMILY):
        raise errors.Unavailable(
            "the kernel module openvswitch is not loaded, and ovs.datapathType is system",
            "`modprobe openvswitch`, or set ovs.datapathType to netdev (slower)",
        )
