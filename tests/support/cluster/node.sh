#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Becomes process 1 of a cluster's node: the node's network, file system and, if it is to have one,
# Open vSwitch. What runs on a node of Kubernetes is started by node.py.
#
# Prints its pid as seen from outside once everything is ready; lives until it reads `off` from
# standard input, or standard input is closed, which is a failure.
# All that runs in the node ends with it.
#
#   node.sh FOLDER NAME GROUP FABRIC OVS DATAPATH TUNNELS {ADDRESS ROUTER}…
#     FOLDER  holds the node's disk, which a reboot keeps, and logs
#     GROUP   its control group
#     FABRIC  a pid in the network between the nodes
#     OVS     `ovs`: Open vSwitch is installed on the node; `none`: it comes later, in a pod
#     DATAPATH of Open vSwitch: `netdev` or `system`
#     TUNNELS the address where its tunnels end, with the length of its prefix
#     ADDRESS one of its own, likewise; of IPv4, of IPv6, or first one and then the other
#     ROUTER  the address of the way to all others of that version

set -eu
folder=$1 name=$2 group=$3 fabric=$4 ovs=$5 datapath=$6 tunnels=$7
shift 7
here=$(dirname "$0")

read -r pid _ </proc/self/stat # still the outer /proc: the outer pid
hostname "$name"

# --- control groups: kubelet wants the one that it is to work in to exist ---

make_group_v1() { # in each hierarchy; in a new cpuset nothing can run until it has these two
  for top in /sys/fs/cgroup/*/; do
    [ -e "$top/cgroup.procs" ] || continue
    mkdir -p "$top/$group"
    [ -e "$top/cpuset.mems" ] || continue
    for made in "$top/${group%/*}" "$top/$group"; do
      cat "$top/cpuset.cpus" >"$made/cpuset.cpus"
      cat "$top/cpuset.mems" >"$made/cpuset.mems"
    done
  done
}
make_group_v2() { # with all controllers
  mkdir -p "/sys/fs/cgroup/$group"
  for above in /sys/fs/cgroup "/sys/fs/cgroup/${group%/*}"; do
    sed 's/[^ ]*/+&/g' "$above/cgroup.controllers" >"$above/cgroup.subtree_control"
  done
}
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  make_group_v2
else
  make_group_v1
fi

# --- network: eth0 has the node's address, eth1 is for the tunnels ---

in_fabric() {
  nsenter --net="/proc/$fabric/ns/net" ip "$@"
}
cable() { # BRIDGE LINK
  in_fabric link delete "$name-$2" 2>/dev/null || true # of before a reboot
  in_fabric link add "$name-$2" type veth peer name "$2" netns 1
  in_fabric link set "$name-$2" master "$1" up
  echo 0 >"/proc/sys/net/ipv6/conf/$2/accept_dad" # its addresses can be used at once
  ip link set "$2" up
}
cable nodes eth0
cable tunnels eth1
ip link set lo up
while [ $# -gt 0 ]; do
  ip address add "$1" dev eth0
  ip route add default via "$2"
  shift 2
done

# --- file system: what a node changes is its own ---

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns /run/openvswitch /run/node
cd /run/node
mkdir cgroup disk
mount --rbind /sys/fs/cgroup cgroup
mount -t sysfs sysfs /sys
mount --rbind cgroup /sys/fs/cgroup
mount --bind "$folder/disk" disk
for top in etc opt var; do # so that folders can be made that this machine lacks
  mkdir -p "upper/$top" "work/$top"
  mount -t overlay -o "lowerdir=/$top,upperdir=upper/$top,workdir=work/$top" overlay "/$top"
done
for kept in /etc/cni/net.d /etc/openvswitch /opt/cni/bin /var/lib/cni /var/lib/containerd \
  /var/lib/containers /var/lib/crio /var/lib/kubelet /var/lib/linen /var/log/containers \
  /var/log/openvswitch /var/log/pods; do
  mkdir -p "disk$kept" "$kept"
  mount --bind "disk$kept" "$kept"
done

# kubelet sets these, which are the whole machine's, unless they already have its values.
tunable() { # NAME VALUE
  echo "$2" >"tunable-${1##*/}"
  mount --bind "tunable-${1##*/}" "/proc/sys/$1"
}
tunable vm/overcommit_memory 1
tunable vm/panic_on_oom 0
tunable kernel/panic 10
tunable kernel/panic_on_oops 1
tunable kernel/keys/root_maxkeys 1000000
tunable kernel/keys/root_maxbytes 25000000

mkdir -p /etc/kubernetes/manifests # of static pods

mount --make-rshared / # as systemd leaves it
echo 1 >/proc/sys/net/ipv4/ip_forward

# --- Open vSwitch, and its tunnels' address ---

if [ "$ovs" = ovs ]; then
  "$here/ovs.sh" "$datapath"
  "$here/tunnels.sh" "$tunnels" "$datapath"
else
  "$here/tunnels.sh" "$tunnels" "$datapath" for-ever >"$folder/tunnels.log" 2>&1 &
fi

echo "$pid"
# The shell reaps orphans meanwhile; its own `read` would end with the first of them.
[ "$(head -n 1)" = off ] || exit 9 # keeper.sh knows what that means
