#!/bin/sh
# Builds and runs the C tests against a built library.
#
#   Tests/C/run.sh [BUILD_DIR]       BUILD_DIR holds libdynamoe.so, default .build/release
#
# One summary line per program; the exit code is 0 when all passed.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
build=${1:-$root/.build/release}
build=$(CDPATH='' cd -- "$build" && pwd) || exit 1
library=$build/libdynamoe.so
[ -f "$library" ] || {
  echo "C tests: $library does not exist: build the library first (make)" >&2
  exit 1
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
CC=${CC:-cc}
CXX=${CXX:-c++}
failed=0

# Programs ask for the SONAME, which a build folder does not have.
ln -s "$library" "$work/libdynamoe.so.0"
ln -s "$library" "$work/libdynamoe.so"
warnings="-Wall -Wextra -pedantic -Werror"
link="-L$work -ldynamoe -lm -lpthread -ldl -Wl,-rpath,$work"

fail() {
  echo "$*"
  failed=$((failed + 1))
}

# run NAME COMMAND...: a test that dies by a signal or hangs has failed too.
run() {
  name=$1
  shift
  timeout 600 "$@"
  code=$?
  [ $code -eq 0 ] || fail "$name: exit code $code"
}

for name in training handles arguments configuration presets files precision threads sessions serving pool kernels blas allocations layer random; do
  # -fno-builtin: the compiler must not leave out the calls that the counter counts.
  if $CC -std=c11 -O1 -g -fno-builtin $warnings -I"$root/Include" -o "$work/$name" "$here/$name.c" $link; then
    mkdir -p "$work/files-$name"
    run "$name" "$work/$name" "$work/files-$name"
  else
    fail "$name: does not compile"
  fi
done

if ! echo 'int main(void) { return 0; }' | $CC -fopenmp -x c - -o "$work/openmp" 2>/dev/null; then
  echo "openmp: not tested here: $CC has no -fopenmp"
elif $CC -std=c11 -O1 -g -fopenmp $warnings -I"$root/Include" -o "$work/openmp" "$here/openmp.c" $link; then
  mkdir -p "$work/files-openmp"
  run openmp "$work/openmp" "$work/files-openmp"
else
  fail "openmp: does not compile"
fi

if $CC -std=c11 $warnings -I"$root/Include" -o "$work/header" "$here/header.c" $link; then
  run "header (C)" "$work/header"
else
  fail "header (C): does not compile"
fi
if command -v "$CXX" >/dev/null 2>&1; then
  if $CXX -x c++ -std=c++17 $warnings -I"$root/Include" -o "$work/header++" "$here/header.c" $link; then
    run "header (C++)" "$work/header++"
  else
    fail "header (C++): does not compile"
  fi
else
  fail "header (C++): there is no C++ compiler ($CXX)"
fi

# The example that serves a saved network, with rows that are read and rows that are made.
if $CC -std=c11 -O2 $warnings -I"$root/Include" -o "$work/train" "$root/examples/c/train.c" $link &&
  $CC -std=c11 -O2 $warnings -I"$root/Include" -o "$work/serve" "$root/examples/c/serve.c" $link; then
  run "serve (example)" "$here/serve.sh" "$work/train" "$work/serve" "$work"
else
  fail "serve (example): does not compile"
fi

run exports "$here/exports.sh" "$library"
run install "$here/install.sh" "$build"

if [ $failed -eq 0 ]; then
  echo "C tests: all passed"
else
  echo "C tests: $failed failed"
fi
[ $failed -eq 0 ]
