#!/bin/sh
# Installs the built library, its header, the pkg-config file, the CMake package, the licence, and the command with its completions.
#
#   scripts/install.sh [BUILD_DIR]        BUILD_DIR holds libdynamoe.so, default .build/release
#
# From the environment:
#   PREFIX    where things are found at run time, default /usr/local
#   LIBDIR    the library's folder, default PREFIX/lib
#   DESTDIR   put in front of every path when packaging, default nothing
#   COMMAND   the built command, completions beside it; default nothing: without the command
#   STRIP     the strip program, default strip; ":" keeps the symbols
set -eu

fail() {
  echo "install: $*" >&2
  exit 1
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=${1:-$root/.build/release}
prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
destdir=${DESTDIR:-}
strip=${STRIP:-strip}
command=${COMMAND:-}

case $prefix in /*) ;; *) fail "PREFIX is \"$prefix\", allowed: an absolute path" ;; esac
case $libdir in /*) ;; *) fail "LIBDIR is \"$libdir\", allowed: an absolute path" ;; esac
[ "$prefix" = / ] || prefix=${prefix%/}
libdir=${libdir%/}

library=$build/libdynamoe.so
header=$root/Include/dynamoe.h
[ -z "$command" ] || [ -x "$command" ] || fail "$command does not exist: build the command first (make command)"
[ -f "$library" ] || fail "$library does not exist: build the library first (make)"

version=$(sed -n 's/^#define DYNAMOE_VERSION "\(.*\)"$/\1/p' "$header")
[ -n "$version" ] || fail "$header does not define DYNAMOE_VERSION"
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]$/\1/p')
[ -n "$soname" ] || fail "$library has no SONAME"
file=libdynamoe.so.$version

# Inside the prefix the paths are relative to the file itself, so that a moved or staged tree keeps working.
up() {
  # "lib/x86_64-linux-gnu/pkgconfig" -> "../../.."
  printf '%s' "$1" | sed 's,[^/][^/]*,..,g'
}
literal() { # as the replacement of sed, with all its lines
  printf '%s' "$1" | sed -e 's/[&,\\]/\\&/g' -e '$!s/$/\\/'
}
# fill NAME FOLDER: writes Include/NAME.in, filled in, into a folder
fill() {
  sed -e "s,@PREFIX@,$(literal "$pc_prefix"),g" -e "s,@LIBDIR@,$(literal "$pc_libdir"),g" \
    -e "s,@CMAKE_PREFIX@,$(literal "$cmake_prefix"),g" -e "s,@CMAKE_LIBDIR@,$(literal "$cmake_libdir"),g" \
    -e "s,@INCLUDEDIR@,\${prefix}/include,g" -e "s,@VERSION@,$version,g" -e "s,@SONAME@,$soname,g" -e "s,@FILE@,$file,g" \
    "$root/Include/$1.in" >"$2/$1"
  chmod 644 "$2/$1"
}
case $libdir in
"$prefix"/*)
  inside=${libdir#"$prefix"/}
  pc_prefix="\${pcfiledir}/$(up "$inside/pkgconfig")"
  pc_libdir="\${prefix}/$inside"
  # The real path, because /lib may be a link to /usr/lib.
  cmake_prefix="get_filename_component(_dynamoe_prefix \"\${CMAKE_CURRENT_LIST_FILE}\" REALPATH)
get_filename_component(_dynamoe_prefix \"\${_dynamoe_prefix}/../$(up "$inside/cmake/DynaMoE")\" ABSOLUTE)"
  cmake_libdir="\${_dynamoe_prefix}/$inside"
  ;;
*)
  pc_prefix=$prefix
  pc_libdir=$libdir
  cmake_prefix="set(_dynamoe_prefix \"$prefix\")"
  cmake_libdir=$libdir
  ;;
esac

install -d "$destdir$libdir/pkgconfig" "$destdir$libdir/cmake/DynaMoE" "$destdir$prefix/include" "$destdir$prefix/share/doc/dynamoe"

# Beside the old file and renamed: programs that run with the old library keep it whole.
temporary=$destdir$libdir/.$file.$$
trap 'rm -f "$temporary"' EXIT
install -m 755 "$library" "$temporary"
[ "$strip" = : ] || "$strip" --strip-unneeded "$temporary"
mv -f "$temporary" "$destdir$libdir/$file"
ln -sf "$file" "$destdir$libdir/$soname"
ln -sf "$soname" "$destdir$libdir/libdynamoe.so"

install -m 644 "$header" "$destdir$prefix/include/dynamoe.h"
install -m 644 "$root/LICENSE" "$destdir$prefix/share/doc/dynamoe/LICENSE"
fill dynamoe.pc "$destdir$libdir/pkgconfig"
fill DynaMoEConfig.cmake "$destdir$libdir/cmake/DynaMoE"
fill DynaMoEConfigVersion.cmake "$destdir$libdir/cmake/DynaMoE"

if [ -n "$command" ]; then
  completions=$destdir$prefix/share
  install -d "$destdir$prefix/bin" "$completions/bash-completion/completions" "$completions/zsh/site-functions" \
    "$completions/fish/vendor_completions.d"
  install -m 755 "$command" "$destdir$prefix/bin/.dynamoe.$$"
  mv -f "$destdir$prefix/bin/.dynamoe.$$" "$destdir$prefix/bin/dynamoe"
  install -m 644 "$command.bash" "$completions/bash-completion/completions/dynamoe"
  install -m 644 "$command.zsh" "$completions/zsh/site-functions/_dynamoe"
  install -m 644 "$command.fish" "$completions/fish/vendor_completions.d/dynamoe.fish"
fi

echo "installed libdynamoe $version under $destdir$prefix"
# A folder that the system's loader searches needs its cache refreshed; a staged one does not.
if [ -z "$destdir" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null 2>&1; then
  ldconfig
fi
