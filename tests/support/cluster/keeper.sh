#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a node (node.sh) in namespaces of its own, and takes its control groups away when it has ended,
# however it ended: when the tests are killed, too, this script lives on until it has tidied up.
#
#   keeper.sh CGROUP COMMAND…   CGROUP: CLUSTER/NODE, the node's group, which COMMAND makes

set -u
group=$1
shift

unshare --net --mount --uts --ipc --pid --fork --kill-child --propagation=private -- "$@"
status=$?

for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do # version 2, and version 1 with its hierarchies
  [ -d "$top/$group" ] || continue
  find "$top/$group" -depth -type d -exec rmdir {} +
  rmdir --ignore-fail-on-non-empty "$top/${group%/*}"
done
exit $status
