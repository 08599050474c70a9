# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# How the scripts in ../../bin run their daemons. A container's process 1 gets no signal that it does
# not catch, not even from itself, and Open vSwitch's daemons end by one; so they run below the script.
#
# A shell heeds a signal only when the command in its foreground has ended, and the container's end
# must not wait for that; so whatever takes its time runs in the background.

most_failures=10 # in a row, before kubelet is told
settled=60       # seconds; a daemon that ran that long had started well
daemon='' helper='' task='' stopping=''

trap 'stopping=yes; end_all' TERM INT

# say TEXT…: one line of the container's log.
say() {
  echo "${0##*/}: $*" >&2
}

end_all() {
  for process in $daemon $helper $task; do
    kill -s TERM "$process" 2>/dev/null || :
  done
}

# reap PROCESS: waits for its end, whatever signals come meanwhile; its exit status.
reap() {
  while :; do
    wait "$1" && reaped=0 || reaped=$?
    kill -s 0 "$1" 2>/dev/null || return "$reaped"
  done
}

# heed_stop: ends the script and all that it has started, if the container is to stop.
heed_stop() {
  [ -n "$stopping" ] || return 0
  end_all
  for process in $daemon $helper; do
    reap "$process" || :
  done
  exit 0
}

# attend COMMAND…: runs it, and ends it when the container is to stop.
attend() {
  "$@" &
  task=$!
  [ -z "$stopping" ] || end_all # the signal came before the process was known
  reap "$task" && attended=0 || attended=$?
  task=''
  heed_stop
  return "$attended"
}

# run COMMAND…: the daemon once, from `prepare` to its end; its exit status. `follow` runs beside it.
run() {
  prepare || return
  "$@" &
  daemon=$!
  follow &
  helper=$!
  [ -z "$stopping" ] || end_all
  reap "$daemon" && status=0 || status=$?
  daemon=''
  kill -s TERM "$helper" 2>/dev/null || :
  reap "$helper" || :
  helper=''
  heed_stop
  return "$status"
}

# keep COMMAND…: runs a daemon, and runs it again whenever it ends, until the container is to stop.
# kubelet would do so as well, but lets a node that crashes often wait for up to five minutes.
keep() {
  failures=0
  while :; do
    read -r began _ </proc/uptime
    run "$@" && status=0 || status=$?
    read -r ended _ </proc/uptime
    [ $((${ended%.*} - ${began%.*})) -lt "$settled" ] || failures=0
    failures=$((failures + 1))
    [ "$failures" -lt "$most_failures" ] || break
    say "$1 ended with status $status: it is started again in $failures s"
    attend sleep "$failures"
  done
  say "$1 ended with status $status, $failures times in a row by now: kubelet may try"
  exit 1
}
