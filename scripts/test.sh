#!/usr/bin/env bash
# Builds everything and runs every test: Swift, C, Python, examples, documentation, style. The output of each step is in
# build/log; of a step that fails it is shown. Steps that need a failed one are not tried and count as failed.
#   KERNELS="v3 baseline reference openblas"   the kernels that the engine's short tests are repeated with; empty: none
#   KERNELS_FILTER=regular expression          the Swift tests that are repeated
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kernels=${KERNELS-"v3 baseline reference openblas"}
kernels_filter=${KERNELS_FILTER:-DynaMoETests}
limit=1500 # seconds that a step may take before it counts as hung
passed=0
failed=()

# step NAME TEXT COMMAND…: one step; says the last line of its runner that tells counts.
step() {
  local name=$1
  if quietly "$@"; then
    passed=$((passed + 1))
    grep -aE 'Test run with [0-9]+ tests|[0-9]+ passed' "$logs/$name.log" | tail -n 1 | sed 's/^[^0-9A-Za-z]*/    /' || true
  else
    failed+=("$name")
    return 1
  fi
}
steps_fail() { failed+=("$@"); }

swift_test() { timeout "$limit" swift test -c release -Xswiftc -enable-testing --disable-xctest --skip-build "$@"; }
swift_test_with() { DYNAMOE_KERNELS=$1 swift_test --filter "$2"; }
python() { timeout "$limit" .venv/bin/python "$@"; }

has_kernels() {
  case $1 in
    v3) grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo ;;
    v4) grep -qw avx512f /proc/cpuinfo ;;
    *) true ;;
  esac
}

swift_steps() {
  discard_when_header_changed .build
  if ! step swift-build "Building the Swift tests" \
    timeout "$limit" swift build --build-tests -c release -Xswiftc -enable-testing; then
    steps_fail swift-tests
    return
  fi
  step swift-tests "Swift tests" swift_test || true
  local name
  for name in $kernels; do
    if has_kernels "$name"; then
      step "swift-kernels-$name" "Swift engine tests with the kernels $name" \
        swift_test_with "$name" "$kernels_filter" || true
    else
      echo "This processor lacks the kernels $name: not tested."
    fi
  done
}

library_steps() {
  if ! step library "libdynamoe.so: build, dependencies, exports" make --no-print-directory -s build; then
    steps_fail c-programs reference python-tests command-tests documentation
    return
  fi
  step reference "Reference of the Swift module, without warnings" timeout "$limit" scripts/documentation.sh || true
  step c-programs "C tests, installation, C examples" timeout "$limit" Tests/C/run.sh "$library" || true
  if ! step python-package "Python package" make --no-print-directory -s .venv/stamp-test; then
    steps_fail python-tests command-tests documentation
    return
  fi
  if step command "The command dynamoe" make --no-print-directory -s command; then
    step command-tests "Command line tests" python -m pytest -q -p no:cacheprovider Tests/Command || true
  else
    steps_fail command-tests
  fi
  step python-tests "Python tests, examples, notebooks" python -m pytest -q -p no:cacheprovider Tests/Python || true
  step documentation "Documentation: examples, configurations, links" python scripts/check-documentation.py || true
}

swift_steps
library_steps
step swift-examples "Swift examples" timeout "$limit" scripts/run-swift-examples.sh || true
step style "Style" scripts/lint.sh || true

echo
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
fi
echo "steps: $passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
