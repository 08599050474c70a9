#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Puts a node's eth1 into Open vSwitch, which has to send what it encapsulates by itself (fabric.py),
# as soon as there is one. The address has to be given again whenever ovs-vswitchd was away.
#
#   tunnels.sh ADDRESS           where the tunnels end, with the length of its prefix
#   tunnels.sh ADDRESS for-ever  gives it again, too, as a host's network management would

set -eu
address=$1 how_long=${2:-once}

give_address() {
  ip link set br-phy up 2>/dev/null || return
  echo 0 >/proc/sys/net/ipv6/conf/br-phy/accept_dad # it can be used at once
  ip address replace "$address" dev br-phy
}

until [ -S /run/openvswitch/db.sock ]; do sleep 0.1; done
ovs-vsctl --retry --may-exist add-br br-phy -- set bridge br-phy datapath_type=netdev \
  -- --may-exist add-port br-phy eth1
# The kernel sees eth1's frames, too, and would answer by eth1's MAC who asks for br-phy's address.
ip link set eth1 arp off
until give_address; do sleep 0.1; done # it is there already, its device not yet

[ "$how_long" = for-ever ] || exit 0
ip -oneline monitor link | while read -r event; do
  case $event in
  Deleted* | *[,\<]UP[,\>]*) ;;
  *": br-phy: "*) give_address || true ;; # gone again: there will be another event
  esac
done
