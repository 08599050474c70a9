# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# How the scripts in ../../bin run their daemons. A container's process 1 gets no signal that it does
# not catch, not even from itself, and Open vSwitch's daemons end by one; so they run below the script.

# say TEXT…: one line of the container's log.
say() {
  echo "${0##*/}: $*" >&2
}

# start COMMAND…: runs it from now on, and tells it when the container is to stop.
start() {
  "$@" &
  daemon=$!
  stopping=
  trap 'stopping=yes; kill -s TERM "$daemon"' TERM INT
}

# finish: waits for what `start` started, and ends as it does; as asked to is well.
finish() {
  status=0
  while kill -s 0 "$daemon" 2>/dev/null; do # a signal ends `wait`, too
    wait "$daemon" && status=0 || status=$?
  done
  [ -n "$stopping" ] || exit "$status"
}
