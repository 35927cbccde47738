#!/bin/sh
# Installs into temporary folders and builds and runs the examples with pkg-config or CMake alone.
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

# configure FOLDER [OPTION...]: CMake's cache and makefiles for a copy of the examples, found by nothing but the options
configure() {
  folder=$1
  shift
  cmake -S "$work/examples" -B "$folder" -DCMAKE_C_FLAGS="-Wall -Wextra -pedantic -Werror" \
    -DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF "$@"
}

# found WHETHER VERSIONS: whether find_package finds the package moved to $work/moved when each of the versions is asked for
found() {
  mkdir -p "$work/found" || return 1
  cat >"$work/found/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.19)
project(found LANGUAGES C)
foreach(version IN LISTS versions)
  separate_arguments(words UNIX_COMMAND "${version}")
  unset(DynaMoE_DIR CACHE)
  find_package(DynaMoE ${words} QUIET CONFIG)
  if(NOT DynaMoE_FOUND EQUAL wanted)
    message(FATAL_ERROR "find_package(DynaMoE ${version}): found is ${DynaMoE_FOUND}, not ${wanted}")
  endif()
endforeach()
END
  cmake -S "$work/found" -B "$work/found/build" -DCMAKE_PREFIX_PATH="$work/moved" -Dwanted="$1" -Dversions="$2"
}

run_in() {
  (cd "$1" && shift && "$@")
}

# 1. A prefix of its own.
prefix=$work/prefix
check "install into a prefix" env -u DESTDIR -u LIBDIR PREFIX="$prefix" "$root/scripts/install.sh" "$build"
for file in include/dynamoe.h lib/libdynamoe.so lib/libdynamoe.so.0 lib/libdynamoe.so.0.1.0 lib/pkgconfig/dynamoe.pc \
  lib/cmake/DynaMoE/DynaMoEConfig.cmake lib/cmake/DynaMoE/DynaMoEConfigVersion.cmake share/doc/dynamoe/LICENSE; do
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
check "configure with CMake" configure "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix"
check "build with CMake" cmake --build "$work/cmake"
for example in $(sed -n 's/^PROGRAMS := //p' "$root/examples/c/Makefile"); do
  set --
  if [ "$example" = serve ]; then set -- spirals.safetensors 2 20000; fi # what train has saved
  check "run $example, built with CMake" run_in "$work" "$work/cmake/$example" "$@"
done
check "CMakeLists.txt and Makefile name the same programs" test \
  "$(sed -n 's/^set(programs \(.*\))$/\1/p' "$root/examples/c/CMakeLists.txt")" = "$(sed -n 's/^PROGRAMS := //p' "$root/examples/c/Makefile")"
check "they name all programs" test "$(cd "$root/examples/c" && printf '%s\n' *.c | sort)" = \
  "$(sed -n 's/^PROGRAMS := //p' "$root/examples/c/Makefile" | tr ' ' '\n' | sed 's/$/.c/' | sort)"
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

check "configure after a move" configure "$work/cmake-moved" -DDynaMoE_DIR="$work/moved/lib/cmake/DynaMoE"
check "build after a move" cmake --build "$work/cmake-moved"
check "run after a move, built with CMake" run_in "$work" "$work/cmake-moved/layer"
check "versions that find_package takes" found 1 "0.1;0.1.0;0.1.0 EXACT;0.1...0.3;0.0.9...0.1.0;0.0...<0.2"
check "versions that find_package refuses" found 0 "0.0;0.2;1.0;0.1.1;0.1.1 EXACT;0.2...0.3;0.0.9...<0.1.0"

# 3. Staged for a package, with the library in the folder of an architecture.
stage=$work/stage
check "install into a stage" env DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu "$root/scripts/install.sh" "$build"
check "nothing outside the stage" test ! -e "$work/usr"
staged=$stage/usr/lib/x86_64-linux-gnu
check "compile from the stage" compile "$root/examples/c/layer.c" "$work/layer-staged" "$staged/pkgconfig" "$staged"
check "run from the stage" run_in "$work" "$work/layer-staged"
check "no path of this machine in dynamoe.pc" refuse grep -q -e "$work" -e "$root" "$staged/pkgconfig/dynamoe.pc"
check "configure from the stage" configure "$work/cmake-staged" -DDynaMoE_DIR="$staged/cmake/DynaMoE"
check "build from the stage" cmake --build "$work/cmake-staged"
check "run from the stage, built with CMake" run_in "$work" "$work/cmake-staged/layer"
check "no path of this machine in the CMake package" refuse grep -r -q -e "$work" -e "$root" "$staged/cmake"
check "installed again over itself" env DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu "$root/scripts/install.sh" "$build"

# The library outside the prefix.
check "install with a folder of its own for the library" env -u DESTDIR PREFIX="$work/apart" LIBDIR="$work/elsewhere" \
  "$root/scripts/install.sh" "$build"
check "configure with the library elsewhere" configure "$work/cmake-apart" -DDynaMoE_DIR="$work/elsewhere/cmake/DynaMoE"
check "build with the library elsewhere" cmake --build "$work/cmake-apart"
check "run with the library elsewhere" run_in "$work" "$work/cmake-apart/layer"

# 4. What cannot be.
check "refuse a relative prefix" refuse env PREFIX=here "$root/scripts/install.sh" "$build"
check "refuse without a library" refuse env PREFIX="$work/none" "$root/scripts/install.sh" "$work"

echo "install: $passed passed, $failed failed"
[ $failed -eq 0 ]
