#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds Linux as a program that has Open vSwitch's datapath, and its modules.
#
#   build.sh SOURCE FOLDER     SOURCE: /usr/src/linux-source-*.tar.xz, the distribution's
#
# FOLDER, which is made anew, gets the program `linux`, and `lib/modules`.

set -euo pipefail
source=$1
mkdir -p "$2"
folder=$(realpath "$2")
config=$(realpath "$(dirname "$0")")/config

rm -rf "$folder"
mkdir "$folder" "$folder/source"
tar --extract --file="$source" --directory="$folder/source" --strip-components=1
cd "$folder/source"
# Room for the registers of any processor: AMX has 11,008 bytes of them. What has fewer takes less.
registers=arch/x86/um/user-offsets.c
sed --in-place 's/HOST_FP_SIZE, 2696/HOST_FP_SIZE, 12288/' "$registers"
grep --quiet 'HOST_FP_SIZE, 12288' "$registers"
make ARCH=um KCONFIG_ALLCONFIG="$config" allnoconfig
# What has another name in this Linux, or depends on something new.
if unknown=$(grep '^CONFIG_' "$config" | grep -vxFf .config); then
  printf '%s cannot be configured as %s wants it:\n%s\n' "$source" "$config" "$unknown" >&2
  exit 1
fi
nice -n 19 make ARCH=um -j"$(nproc)"
make ARCH=um INSTALL_MOD_PATH="$folder" INSTALL_MOD_STRIP=1 modules_install
strip -o "$folder/linux" linux
cd "$folder"
rm -rf source lib/modules/*/{build,source}
