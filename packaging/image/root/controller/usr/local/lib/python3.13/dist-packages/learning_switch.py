# SPDX-License-Identifier: Apache-2.0
"""A learning switch for OpenFlow 1.3, run by os-ken: what the image linen-controller does.

Each bridge learns for itself on which port an address is, from the packets that no rule matches,
and gets a rule for each pair of addresses that talk. Broadcasts and unknown addresses are flooded,
so the bridges and their tunnels must be a tree: a star, in Linen's words.

OpenFlow asks nobody who he is. So whoever says that he is a bridge that is connected already is
refused: he would learn, and teach, in its place. A connection that is dead is noticed soon, lest a
bridge that comes back be kept out.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

from os_ken import cfg
from os_ken.base.app_manager import AppManager, OSKenApp
from os_ken.controller.handler import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    set_ev_cls,
)
from os_ken.controller.ofp_event import (
    EventOFPPacketIn,
    EventOFPStateChange,
    EventOFPSwitchFeatures,
)
from os_ken.lib.packet.ethernet import ethernet
from os_ken.ofproto import ofproto_v1_3

MISS, PAIR = 0, 1  # priorities
IDLE = 60  # seconds until the rule of a pair that fell silent goes
ADDRESSES = 20_000  # of one bridge; who invents more makes it forget, not grow
ECHO, UNANSWERED = (
    5.0,
    2,
)  # seconds between questions whether a bridge is there, and how many may fail


class LearningSwitch(OSKenApp):  # type: ignore[misc]  # os-ken has no types
    """All bridges that are connected, each with what it has learned."""

    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (the base class's)
        super().__init__(*args, **kwargs)
        self.bridges: dict[int, Any] = {}  # datapath id → connection
        self.ports: dict[int, dict[str, int]] = {}  # datapath id → address → port

    @set_ev_cls(EventOFPSwitchFeatures, CONFIG_DISPATCHER)  # type: ignore[untyped-decorator]
    def connected(self, event: EventOFPSwitchFeatures) -> None:
        """Begin with one rule: what no other matches comes here."""
        bridge = event.msg.datapath
        of, message = bridge.ofproto, bridge.ofproto_parser
        first = self.bridges.setdefault(bridge.id, bridge)
        if first is not bridge:
            where = (bridge.address[0], bridge.id, first.address[0])
            self.logger.warning("%s refused: bridge %016x is connected from %s", *where)
            bridge.close()
            return
        self.ports[bridge.id] = {}
        self.logger.info("bridge %016x connected", bridge.id)
        change(bridge, {}, command=of.OFPFC_DELETE, table_id=of.OFPTT_ALL)
        to_us = message.OFPActionOutput(of.OFPP_CONTROLLER, of.OFPCML_NO_BUFFER)
        change(bridge, {}, priority=MISS, actions=[to_us])

    @set_ev_cls(EventOFPStateChange, DEAD_DISPATCHER)  # type: ignore[untyped-decorator]
    def left(self, event: EventOFPStateChange) -> None:
        """Forget a bridge that is gone."""
        bridge = event.datapath
        if self.is_connected(bridge):
            self.logger.info("bridge %016x left", bridge.id)
            del self.bridges[bridge.id], self.ports[bridge.id]

    def is_connected(self, bridge: Any) -> bool:  # noqa: ANN401 (untyped)
        """Whether a connection is a bridge's, neither refused nor gone."""
        return self.bridges.get(bridge.id) is bridge

    @set_ev_cls(EventOFPPacketIn, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def packet_in(self, event: EventOFPPacketIn) -> None:
        """Learn where a packet's sender is, send it on, and let the bridge do so from now on."""
        packet = event.msg
        bridge, port = packet.datapath, packet.match["in_port"]
        if not self.is_connected(bridge):
            return
        message = bridge.ofproto_parser
        frame, _, _ = ethernet.parser(packet.data)
        self.learn(bridge, frame.src, port)
        target = self.ports[bridge.id].get(frame.dst, bridge.ofproto.OFPP_FLOOD)
        actions = [message.OFPActionOutput(target)] if target != port else []  # [] drops it
        if target != bridge.ofproto.OFPP_FLOOD:
            pair = {"in_port": port, "eth_src": frame.src, "eth_dst": frame.dst}
            change(bridge, pair, priority=PAIR, idle_timeout=IDLE, actions=actions)
        out = message.OFPPacketOut(bridge, packet.buffer_id, port, actions, packet.data)
        bridge.send_msg(out)

    def learn(self, bridge: Any, address: str, port: int) -> None:  # noqa: ANN401 (untyped)
        """Note on which port an address is; rules that send elsewhere are wrong from now on."""
        if int(address[:2], 16) & 1:
            return  # a group's address, which nobody sends from
        known = self.ports[bridge.id]
        before = known.pop(address, port)
        if before != port:
            change(bridge, {"eth_dst": address}, command=bridge.ofproto.OFPFC_DELETE)
        if len(known) >= ADDRESSES:
            del known[next(iter(known))]
        known[address] = port


def change(
    bridge: Any,  # noqa: ANN401 (untyped)
    match: dict[str, object],
    actions: list[object] | None = None,
    **fields: int,
) -> None:
    """Add a rule, or do with those that match what `command` says."""
    of, message = bridge.ofproto, bridge.ofproto_parser
    instructions = []
    if actions is not None:
        instructions = [message.OFPInstructionActions(of.OFPIT_APPLY_ACTIONS, actions)]
    rule = message.OFPFlowMod(
        bridge,
        match=message.OFPMatch(**match),
        instructions=instructions,
        out_port=of.OFPP_ANY,
        out_group=of.OFPG_ANY,
        **fields,
    )
    bridge.send_msg(rule)


def main() -> None:
    """Run until the container stops; the arguments are os-ken's options."""
    # Process 1 of a container gets no signal without a handler; and there is nothing to tidy up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    cfg.CONF(sys.argv[1:], project="os_ken", prog="learning-switch", default_config_files=[])
    cfg.CONF.set_override("echo_request_interval", ECHO)
    cfg.CONF.set_override("maximum_unreplied_echo_requests", UNANSWERED)
    AppManager.run_apps([__name__])
