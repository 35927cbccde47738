#!/usr/bin/env bash
# check-library.sh FILE: libdynamoe.so needs nothing but the C and C++ runtimes, exports dynamoe_* only, and is called
# libdynamoe.so.0. (That it exports what the header declares is tested by Tests/C/exports.sh.)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

file=${1:?usage: check-library.sh FILE}
dynamic=$(readelf -d -W "$file")

soname=$(sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' <<<"$dynamic")
[ "$soname" = libdynamoe.so.0 ] || fail "$file has the SONAME '$soname', not libdynamoe.so.0."

while read -r name; do
  case $name in
    libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | libgcc_s.so.1 | libstdc++.so.6 | ld-linux-x86-64.so.2 | ld-linux-aarch64.so.1) ;;
    *) fail "$file needs $name at run time; it must not." ;;
  esac
done < <(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic")
if missing=$(ldd "$file" | grep 'not found'); then
  fail "$file needs what is not there: $missing"
fi

exported=$(nm -D --defined-only "$file" | awk '{ print $NF }' | sed 's/@.*//' | sort -u)
if foreign=$(grep -v '^dynamoe_' <<<"$exported"); then
  fail "$file exports more than dynamoe_*: $(head -n 5 <<<"$foreign" | tr '\n' ' ')"
fi
