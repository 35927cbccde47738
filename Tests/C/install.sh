#!/bin/sh
# Installs into temporary folders and builds and runs the examples with pkg-config alone.
#
#   Tests/C/install.sh [BUILD_DIR]
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
build=${1:-$root/.build/release}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

check() {
  name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "install: failed: $name"
    cat "$work/log"
  fi
}

refuse() {
  ! "$@"
}

# compile SOURCE PROGRAM PKG_CONFIG_PATH RPATH
compile() {
  # The words of pkg-config are words of the command.
  cc -std=c11 -Wall -Wextra -pedantic -Werror -o "$2" "$1" $(PKG_CONFIG_PATH=$3 pkg-config --cflags --libs dynamoe) -lm \
    -Wl,-rpath,"$4"
}

run_in() {
  (cd "$1" && shift && "$@")
}

# 1. A prefix of its own.
prefix=$work/prefix
check "install into a prefix" env -u DESTDIR -u LIBDIR PREFIX="$prefix" "$root/scripts/install.sh" "$build"
for file in include/dynamoe.h lib/libdynamoe.so lib/libdynamoe.so.0 lib/libdynamoe.so.0.1.0 lib/pkgconfig/dynamoe.pc \
  share/doc/dynamoe/LICENSE; do
  check "$file is there" test -s "$prefix/$file"
done
check "libdynamoe.so.0 is a link" test -L "$prefix/lib/libdynamoe.so.0"
check "stripped" sh -c "! nm '$prefix/lib/libdynamoe.so' 2>/dev/null | grep -q ."
for example in train layer; do
  check "compile $example.c" compile "$root/examples/c/$example.c" "$work/$example" "$prefix/lib/pkgconfig" "$prefix/lib"
  check "run $example" run_in "$work" "$work/$example"
done
check "version" test "$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --modversion dynamoe)" = 0.1.0

# The examples' own Makefile, on a copy, and train on a table.
cp -r "$root/examples/c" "$work/examples"
check "make run" make -C "$work/examples" run PKG_CONFIG_PATH="$prefix/lib/pkgconfig" RPATH="$prefix/lib"
awk 'BEGIN { print "a,b,class"; for (i = 0; i < 200; i++) printf "%g,%g,%d\n", sin(i), cos(3 * i), (sin(i) > 0) }' >"$work/data.csv"
check "train on a table" run_in "$work" "$work/train" "$work/data.csv" "$work/table.safetensors"
check "the model is saved" test -s "$work/table.safetensors"
printf '1,2\n3,x\n' >"$work/bad.csv"
check "refuse a bad table" refuse "$work/train" "$work/bad.csv"
check "refuse a missing table" refuse "$work/train" "$work/absent.csv"

# 2. The tree moved elsewhere still works.
mv "$prefix" "$work/moved"
check "compile after a move" compile "$root/examples/c/layer.c" "$work/layer-moved" "$work/moved/lib/pkgconfig" "$work/moved/lib"
check "run after a move" run_in "$work" "$work/layer-moved"

# 3. Staged for a package, with the library in the folder of an architecture.
stage=$work/stage
check "install into a stage" env DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu "$root/scripts/install.sh" "$build"
check "nothing outside the stage" test ! -e "$work/usr"
staged=$stage/usr/lib/x86_64-linux-gnu
check "compile from the stage" compile "$root/examples/c/layer.c" "$work/layer-staged" "$staged/pkgconfig" "$staged"
check "run from the stage" run_in "$work" "$work/layer-staged"
check "no path of this machine in dynamoe.pc" refuse grep -q -e "$work" -e "$root" "$staged/pkgconfig/dynamoe.pc"
check "installed again over itself" env DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu "$root/scripts/install.sh" "$build"

# 4. What cannot be.
check "refuse a relative prefix" refuse env PREFIX=here "$root/scripts/install.sh" "$build"
check "refuse without a library" refuse env PREFIX="$work/none" "$root/scripts/install.sh" "$work"

echo "install: $passed passed, $failed failed"
[ $failed -eq 0 ]
