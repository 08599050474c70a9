# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/uml and scripts/emulate share: to run a command on a machine of its own, which sees this
# machine's files and starts with tests/tools/guest/init.sh. To be sourced after common.sh.

# prepare_guest PART MINUTES [--minutes N] COMMAND…: sets up PART of scripts/setup; sets `minutes`, and
# `state`, a folder with the command in it that is removed at the end.
prepare_guest() {
  local part=$1
  minutes=$2
  shift 2
  if [[ ${1-} == --minutes ]]; then
    [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "--minutes: a number"
    minutes=$2
    shift 2
  fi
  (($#)) || die "say which command to run"
  ((EUID == 0)) || die "it is to see all files of this machine: run this as root"
  scripts/setup "$part"

  mkdir -p build
  state=$(mktemp --directory --tmpdir="$PWD/build" "$part.XXXXXX")
  trap 'rm -rf "$state"' EXIT
  {
    export -p
    printf 'cd %q\nexec' "$PWD"
    printf ' %q' "$@"
  } >"$state/command"
}

# run_guest MACHINE…: runs a machine, and exits with the command's status. What it has said is shown,
# with all else in `state` that is called .log, if it ends before the command.
run_guest() {
  timeout --foreground --kill-after=10 "${minutes}m" "$@" </dev/null 2>"$state/machine.log" || :
  if [[ ! -s $state/status ]]; then
    tail -n 40 "$state"/*.log >&2
    die "the machine has ended before the command has, or was ended after $minutes minutes; above is what it said"
  fi
  exit "$(<"$state/status")"
}
