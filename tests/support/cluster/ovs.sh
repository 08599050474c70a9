#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Starts Open vSwitch on a node, where it does not run, with the priority that its service gives it.
# Its database is on the node's disk.
#
#   ovs.sh DATAPATH  `netdev` or `system`: whether it switches by itself or in the kernel

set -eu
cd /run/openvswitch

database=/etc/openvswitch/conf.db
[ -e "$database" ] || ovsdb-tool create "$database" /usr/share/openvswitch/vswitch.ovsschema
[ -S db.sock ] || nice -n -10 ovsdb-server "$database" --remote=punix:db.sock --detach --pidfile \
  --log-file -vconsole:off
ovs-vsctl --no-wait init
# The same on every machine: no kernel datapath without being asked for, even where the module is.
case $1 in
system) set -- ;;
netdev) set -- --disable-system ;;
esac
nice -n -10 ovs-vswitchd unix:db.sock "$@" --detach --pidfile --log-file -vconsole:off
