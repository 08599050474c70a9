#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a node (node.sh) in namespaces of its own, and takes its control groups away when it has ended.
# When the tests were killed, this script lives on until it has tidied up, and takes the files of the
# whole cluster away, too.
#
#   keeper.sh GROUP FOLDER COMMAND…
#     GROUP   CLUSTER/NODE, the node's control group, which COMMAND makes
#     FOLDER  with all files of the cluster

set -eu
group=$1 folder=$2
cluster=${group%/*}
shift 2

status=0
unshare --net --mount --uts --ipc --pid --fork --kill-child --propagation=private -- "$@" || status=$?

for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do # version 2, and version 1 with its hierarchies
  [ -d "$top/$group" ] || continue
  find "$top/$group" -depth -type d -exec rmdir {} + || continue # what is in the way has been said
  rmdir --ignore-fail-on-non-empty "$top/$cluster" ||
    [ ! -d "$top/$cluster" ] # another node of the cluster ended at the same moment
done
[ "$status" -ne 9 ] || rm -rf "$folder"
