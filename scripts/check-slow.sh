#!/usr/bin/env bash
# The checks that take too long for every change: the Swift tests under the thread and the address sanitizer, a C program
# under valgrind, whether the Swift tests notice errors that are planted in a copy of the engine, routing reports in a browser, and what
# is handed out: wheel, sdist, Swift package, sources for 64-bit ARM.
#   FILTER=regular expression   the Swift tests that are run; default: all
#   STEPS="wheel sdist"         the steps that are run; default: all
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

filter=${FILTER:-.}
steps=${STEPS:-thread address valgrind planted browser wheel sdist swift-package arm64}
passed=0
failed=()

# step NAME TEXT COMMAND…: one step, if it is wanted
step() {
  [[ " $steps " == *" $1 "* ]] || return 0
  if quietly "$@"; then
    passed=$((passed + 1))
  else
    failed+=("$1")
  fi
}

sanitized() { # sanitized thread | address
  local scratch=".build-$1"
  discard_when_header_changed "$scratch"
  swift test -c release -Xswiftc -enable-testing --disable-xctest --scratch-path "$scratch" \
    --sanitize="$1" --filter "$filter"
}

# Valgrind has no AVX-512: the kernels of the next lower level run.
under_valgrind() {
  mkdir -p build
  cc -std=c11 -g -O1 -IInclude examples/c/layer.c -L"$library" -ldynamoe -lm -o build/layer &&
    LD_LIBRARY_PATH="$library" valgrind --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
      build/layer
}

wheel() {
  make --no-print-directory -s wheel &&
    Tests/Packaging/wheel.sh dist/dynamoe-*.whl
}
sdist() {
  make --no-print-directory -s wheel &&
    Tests/Packaging/sdist.sh dist/dynamoe-*.tar.gz
}
arm64() {
  if [ "$(uname -m)" != x86_64 ]; then
    echo "This machine is no x86_64, whose standard library stands in for that of ARM: not tested."
    return
  fi
  Tests/Packaging/arm64.sh
}

step thread "Swift tests under the thread sanitizer" sanitized thread
# Leaks are valgrind's part; the Swift runtime keeps metadata on purpose.
export ASAN_OPTIONS=detect_leaks=0
step address "Swift tests under the address sanitizer" sanitized address
step valgrind "The layer example in C under valgrind" under_valgrind
step planted "Planted errors that the Swift tests must notice" python3 Tests/Support/plant_errors.py
step browser "Routing reports in a browser" .venv/bin/python Tests/Browser/check_report.py build/reports
step wheel "The wheel where Swift and OpenBLAS are hidden" wheel
step sdist "A wheel from the sdist" sdist
step swift-package "A package that depends on this one by URL and version" Tests/Packaging/swift.sh
step arm64 "Sources and header compiled for 64-bit ARM" arm64

[ $((passed + ${#failed[@]})) -gt 0 ] || fail "STEPS is \"$steps\": no step has such a name."
echo "steps: $passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
