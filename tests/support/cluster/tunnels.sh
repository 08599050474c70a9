#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Gives a node the address where its tunnels end. If Open vSwitch switches by itself, it has to send
# what it encapsulates by itself, too (fabric.py), so it is given eth1 as soon as it is there, and the
# address has to be given again whenever ovs-vswitchd was away.
#
#   tunnels.sh ADDRESS DATAPATH           the address with the length of its prefix
#   tunnels.sh ADDRESS DATAPATH for-ever  gives it again, too, as a host's network management would

set -eu
address=$1 datapath=$2 how_long=${3:-once}

give_address() { # DEVICE
  ip link set "$1" up 2>/dev/null || return
  echo 0 >"/proc/sys/net/ipv6/conf/$1/accept_dad" # it can be used at once
  ip address replace "$address" dev "$1"
}

if [ "$datapath" = system ]; then
  give_address eth1
  exit
fi

until [ -S /run/openvswitch/db.sock ]; do sleep 0.1; done
ovs-vsctl --retry --may-exist add-br br-phy -- set bridge br-phy datapath_type=netdev \
  -- --may-exist add-port br-phy eth1
# The kernel sees eth1's frames, too, and would answer by eth1's MAC who asks for br-phy's address.
ip link set eth1 arp off
until give_address br-phy; do sleep 0.1; done # it is there already, its device not yet

[ "$how_long" = for-ever ] || exit 0
ip -oneline monitor link | while read -r event; do
  case $event in
  Deleted* | *[,\<]UP[,\>]*) ;;
  *": br-phy: "*) give_address br-phy || true ;; # gone again: there will be another event
  esac
done
