#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Becomes process 1 of a test's host (support/host.py): its own /proc, /run, /etc/cni and
# /var/lib/cni, and a real ovsdb-server and ovs-vswitchd, all of which end with it.
#
# Prints its pid as seen from outside once everything is ready; lives until standard input is closed,
# so that nothing is left behind however the tests end, but for folders to mount on that the machine
# did not have.
#
#   host.sh LOGS VSWITCHD     LOGS: the folder for the daemons' logs
#                             VSWITCHD: the command that starts ovs-vswitchd

set -eu
logs=$1
vswitchd=$2

read -r pid _ </proc/self/stat # still the outer /proc: the outer pid
mount -t proc proc /proc
mount -t sysfs sysfs /sys # as it shows this host's links
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/openvswitch /etc/cni /var/lib/cni
mount -t tmpfs -o mode=755 tmpfs /etc/cni
mount -t tmpfs -o mode=700 tmpfs /var/lib/cni
ip link set lo up

cd /run/openvswitch
ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server conf.db --remote=punix:db.sock --detach --pidfile \
  --log-file="$logs/ovsdb-server.log" -vconsole:off
ovs-vsctl --no-wait init
# shellcheck disable=SC2086 # several words
$vswitchd --log-file="$logs/ovs-vswitchd.log"

echo "$pid"
exec cat
