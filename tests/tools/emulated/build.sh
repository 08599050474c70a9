#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches the distribution's kernel for virtual machines, without installing it, and packs what it
# needs until it sees the host's files.
#
#   build.sh PACKAGE FOLDER     PACKAGE: linux-image-*-cloud-amd64, as the distribution names it
#
# FOLDER, which is made anew, gets `vmlinuz`, `initrd.img`, and `lib/modules`.

set -euo pipefail
package=$1
here=$(realpath "$(dirname "$0")")
mkdir -p "$2"
folder=$(realpath "$2")

rm -rf "$folder"
mkdir -p "$folder"/{package,initrd/{bin,dev,host,modules}}
cd "$folder"
apt-get download -o APT::Sandbox::User=root "$package"
dpkg-deb --extract "$package"_*.deb package
version=$(basename package/lib/modules/*)
mv package/boot/vmlinuz-* vmlinuz
mv package/lib .
depmod --basedir . "$version"

cp "$here/boot.sh" initrd/init
cp /bin/busybox initrd/bin/
for module in virtio_pci virtiofs virtio_console overlay; do
  modprobe --dirname . --set-version "$version" --show-depends "$module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >order
while read -r path; do
  cp "$path" initrd/modules/
  basename "$path" >>initrd/modules/order
done <order
(cd initrd && find . | cpio --create --format=newc --owner=0:0 --quiet) | gzip >initrd.img
rm -rf package initrd order ./*.deb
