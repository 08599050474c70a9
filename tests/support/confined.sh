#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a program with no more rights than it is given (support/confinement.py): in a mount namespace
# where only named folders can be written, as a user without name, without any capability but some.
#
#   confined.sh CHECKOUT FOLDER WRITABLE CAPABILITIES PROGRAM…
#
#   CHECKOUT, FOLDER   are found at /mnt/linen and /mnt/node: their real parents may be closed to all
#   WRITABLE           folders of FOLDER, with spaces between
#   CAPABILITIES       as setpriv(1) has them: -all,+net_admin
#
# Standard input: the mount points of the machine, one a line.

set -eu
checkout=$1 folder=$2 writable=$3 capabilities=$4
shift 4

mount -t proc proc /proc # that which is there shows another PID namespace
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/linen /mnt/node
mount --bind "$checkout" /mnt/linen
mount --bind "$folder" /mnt/node
for name in $writable; do
  mount --bind "/mnt/node/$name" "/mnt/node/$name"
done
{
  cat
  printf '%s\n' /mnt /mnt/linen /mnt/node
} | while read -r point; do
  # Fails where it lies hidden below a later mount; the tests look at what can be written after all.
  mount -o remount,bind,ro "$point" 2>/dev/null || :
done
exec setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs \
  --inh-caps="$capabilities" --ambient-caps="$capabilities" --bounding-set="$capabilities" -- "$@"
