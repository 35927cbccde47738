#!/bin/sh
# What the library shows to the loader: the functions of the header and nothing else, its SONAME, what it needs.
#
#   Tests/C/exports.sh LIBRARY
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
header=$here/../../Include/dynamoe.h
library=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

check() {
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'exports: failed: %s: "%s", wanted "%s"\n' "$1" "$2" "$3"
  fi
}

# The declarations as the compiler sees them: without comments, one per line.
cc -E -P -x c "$header" | tr '\n' ' ' | tr ';{}' '\n\n\n' \
  | sed -n 's/.*[ *]\(dynamoe_[a-z0-9_]*\)(.*/\1/p' | sort >"$work/declared"
nm -D --defined-only "$library" | awk '{ print $NF }' | sort >"$work/exported"
nm -D --defined-only "$library" | awk '$2 != "T" { print $NF }' >"$work/not-functions"

check "functions in the header" "$([ "$(wc -l <"$work/declared")" -gt 50 ] && echo many)" many
check "declared but not exported" "$(comm -23 "$work/declared" "$work/exported" | tr '\n' ' ')" ""
check "exported but not declared" "$(comm -13 "$work/declared" "$work/exported" | tr '\n' ' ')" ""
check "exported but no function" "$(tr '\n' ' ' <"$work/not-functions")" ""
check "SONAME" "$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]$/\1/p')" libdynamoe.so.0
check "run paths beside its own folder" \
  "$(readelf -d "$library" | sed -n 's/.*(R[UN]*PATH).*\[\(.*\)\]$/\1/p' | tr ':' '\n' | grep -v -x '\$ORIGIN')" ""
check "cannot be unloaded" "$(readelf -d "$library" | grep -c NODELETE)" 1
check "libraries not found" "$(ldd "$library" | grep -c 'not found')" 0
for name in libswift libopenblas libblas libFoundation libdispatch libBlocksRuntime; do
  check "needs $name" "$(ldd "$library" | grep -c "$name")" 0
done
# Every function of the header is called somewhere in these tests.
for function in $(cat "$work/declared"); do
  verb=$(echo "$function" | sed 's/^dynamoe_\(model\|layer\|session\)_//')
  called=$(cat "$here"/*.c "$here"/*.h | grep -c -E "$function\(|P\($verb,|kind##_$verb\(")
  check "$function is tested" "$([ "$called" -gt 0 ] && echo yes)" yes
done

echo "exports: $passed passed, $failed failed"
[ $failed -eq 0 ]
