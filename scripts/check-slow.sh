#!/usr/bin/env bash
# The checks that take too long for every change: the Swift tests under the thread and the address sanitizer, a C program
# under valgrind, whether the Swift tests notice errors that are planted in a copy of the engine, and routing reports in a browser.
#   FILTER=regular expression   the Swift tests that are run; default: all
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

filter=${FILTER:-.}
failed=()

sanitized() { # sanitized thread | address
  local scratch=".build-$1"
  discard_when_header_changed "$scratch"
  swift test -c release -Xswiftc -enable-testing --disable-xctest --scratch-path "$scratch" \
    --sanitize="$1" --filter "$filter"
}

# Valgrind has no AVX-512: the kernels of the next lower level run.
under_valgrind() {
  mkdir -p build
  cc -std=c11 -g -O1 -IInclude examples/c/layer.c -L"$library" -ldynamoe -lm -o build/layer
  LD_LIBRARY_PATH="$library" valgrind --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
    build/layer
}

quietly thread "Swift tests under the thread sanitizer" sanitized thread || failed+=(thread)
# Leaks are valgrind's part; the Swift runtime keeps metadata on purpose.
export ASAN_OPTIONS=detect_leaks=0
quietly address "Swift tests under the address sanitizer" sanitized address || failed+=(address)
quietly valgrind "The layer example in C under valgrind" under_valgrind || failed+=(valgrind)
quietly planted "Planted errors that the Swift tests must notice" python3 Tests/Support/plant_errors.py || failed+=(planted)
quietly browser "Routing reports in a browser" .venv/bin/python Tests/Browser/check_report.py build/reports || failed+=(browser)

echo "steps: $((5 - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}"
