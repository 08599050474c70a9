#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Build bin/linen, the plugin as one static file; see docs/design/static-build.md.
#
#   ./build.sh               bin/linen for this machine
#   ./build.sh --arch arm64  bin/linen-arm64, cross-built
#   ./build.sh --help        all options
#
# All that happens here is finding the distribution's own Python, which both runs
# the build and lends its interpreter to the result.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

if [ ! -x /usr/bin/python3 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "build.sh: /usr/bin/python3 is missing; build on Debian 12 or 13 or Ubuntu 24.04" >&2
        exit 1
    elif [ "$(id -u)" -ne 0 ]; then
        echo "build.sh: /usr/bin/python3 is missing; install it: apt-get install python3" >&2
        exit 1
    fi
    echo "build.sh: installing python3"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install --yes --no-install-recommends python3; } \
        >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
fi

exec /usr/bin/python3 -EsB "$root/packaging/static/build.py" "$@"
