#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# What the kernel of scripts/emulate starts: loads what it needs to see the host's files, and hands on
# to process 1, which lies among these.

set -eu

busybox=/bin/busybox
$busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
  $busybox insmod "/modules/$module"
done </modules/order
$busybox mount -t virtiofs host /host
exec $busybox switch_root /host "$CHECKOUT/tests/tools/guest/init.sh"
