# shellcheck shell=bash
# Shared by the scripts of this folder, which source it. Works from the checkout's root.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

logs=build/log
# shellcheck disable=SC2034 # used by those who source this
library=.build-library/lib

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# quietly NAME TEXT COMMAND…: says TEXT, runs the command with its output in build/log/NAME.log and shows the end of that
# log if the command fails, with which status it returns.
quietly() {
  local log="$logs/$1.log" text=$2 start=$SECONDS status=0
  shift 2
  mkdir -p "$logs"
  if [ -t 1 ]; then
    "$@" >"$log" 2>&1 </dev/null &
    local job=$!
    trap 'kill "$job" 2>/dev/null; printf "\n"; exit 130' INT
    while kill -0 "$job" 2>/dev/null; do
      printf '\r%-64s %4d s' "$text" $((SECONDS - start))
      sleep 0.2
    done
    wait "$job" || status=$?
    trap - INT
    printf '\r%-64s %4d s\n' "$text" $((SECONDS - start))
  else
    "$@" >"$log" 2>&1 </dev/null || status=$?
    printf '%-64s %4d s\n' "$text" $((SECONDS - start))
  fi
  if [ "$status" -ne 0 ]; then
    printf -- '--- failed with status %d; the end of %s:\n' "$status" "$log"
    tail -n 150 "$log"
    printf -- '---\n'
  fi
  return "$status"
}

# SwiftPM does not notice edits of a system module's header: a build made with another header is thrown away.
discard_when_header_changed() {
  local scratch=$1 now
  now=$(cat Include/* | sha256sum)
  if [ -d "$scratch" ] && [ "$(cat "$scratch/header.sha256" 2>/dev/null)" != "$now" ]; then
    rm -rf "$scratch"
  fi
  mkdir -p "$scratch"
  printf '%s\n' "$now" >"$scratch/header.sha256"
}
