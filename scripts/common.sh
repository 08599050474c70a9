# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts beside this file share: how they report a step and where its output goes.
# To be sourced after `cd` to the top of the checkout.

logs=.cache/log
mkdir -p "$logs"

# say TEXT…: one line of progress, on stderr, so that stdout stays what the caller asked for.
say() {
  printf '== %s\n' "$*" >&2
}

# die TEXT…: what is wrong and what would be right, then the end.
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# step NAME TEXT COMMAND…: runs COMMAND with its output in a log, says how long it took;
# if it fails, shows the log's end and returns its status.
step() {
  local log="$logs/$1.log" text=$2 begin=$SECONDS status=0
  shift 2
  say "$text …"
  "$@" >"$log" 2>&1 || status=$?
  if ((status)); then
    tail -n 60 "$log" >&2
    say "$text: FAILED with status $status; everything it said: $log"
    return "$status"
  fi
  ((SECONDS - begin < 5)) || say "$text: $((SECONDS - begin)) s"
}
