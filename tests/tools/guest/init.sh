#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Process 1 of scripts/uml and scripts/emulate: lays the file system, waits until Open vSwitch can be
# started, runs the command, and ends the machine.
#
# From the kernel's command line: CHECKOUT; STATE, a folder of the host's with `command` in it, and
# `status` comes to lie beside it; MODULES, the folder of the kernel's; CONSOLE, the device that takes
# the command's output.

set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root=/mnt/root

# The host's files, with all that is written in memory. The root is changed for good, since who joins
# a mount namespace gets the namespace's root (setns(2)).
mount -n -t proc proc /proc
mount -n -t tmpfs -o size=75% tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -n -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay "$root"
mount -n -t proc proc "$root/proc"
mount -n -t sysfs sysfs "$root/sys"
mount -n -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -n -t devtmpfs devtmpfs "$root/dev"
mkdir -p "$root"/dev/{pts,shm}
mount -n -t devpts devpts "$root/dev/pts"
for folder in dev/shm run tmp; do # empty at first, unless this very checkout lies in there
  [[ $CHECKOUT == /$folder/* ]] || mount -n -t tmpfs tmpfs "$root/$folder"
done
chmod 1777 "$root"/{dev/shm,tmp}
mkdir -p "$root"/run/{lock,netns} "$root/old"
case $(stat --file-system --format=%T /) in
  fuseblk) mount -n --bind "$CHECKOUT/build" "$root$CHECKOUT/build" ;; # virtiofs
  *) mount -n -t hostfs -o "$CHECKOUT/build" hostfs "$root$CHECKOUT/build" ;;
esac
rm -rf "$root/lib/modules"
ln -s "$MODULES" "$root/lib/modules"
cd "$root"
pivot_root . old
umount -n -l /old
rmdir /old

ln -sfn /proc/self/fd /dev/fd
exec </dev/null >"$CONSOLE" 2>&1
stty -F "$CONSOLE" -opost # no carriage returns
echo guest >/proc/sys/kernel/hostname
ip link set lo up
modprobe -a openvswitch br_netfilter

# ovs-vswitchd 3.1 that starts within ten seconds of the boot counts no processor, for good, and
# loses each packet that the kernel asks it about (its count is kept "since time 0").
uptime=0
until ((${uptime%.*} > 10)); do
  read -r -t 0.1 <><(:) || :
  read -r uptime _ </proc/uptime
done

status=0
bash "$STATE/command" || status=$?
echo "$status" >"$STATE/status"
exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)' # RB_POWER_OFF of reboot(2)
