#!/usr/bin/env bash
# documentation.sh [BASE]: makes the reference of the Swift module with DocC, from the doc comments and Sources/DynaMoE/DynaMoE.docc, into
# build/documentation, a folder that any web server can show. A warning is an error. BASE: the path under which it is served, if any.
# Needs the library to be built (`make build`): what the compiler knows of the module is read from there.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

base=${1:-}
output=build/documentation
modules=.build-library/release/Modules
[ -f "$modules/DynaMoE.swiftdoc" ] || fail "$modules has no module DynaMoE: make build first."

# The toolchain's own programs, which need not be in PATH.
toolchain=$(dirname "$(readlink -f "$(command -v swift)")")
target=$(swift -print-target-info | sed -n 's/^ *"unversionedTriple" *: *"\(.*\)".*/\1/p')

graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
"$toolchain/swift-symbolgraph-extract" -module-name DynaMoE -target "$target" -minimum-access-level public \
  -I "$modules" -I Sources/CDynaMoEPlatform/include -module-cache-path "$graphs/cache" -output-dir "$graphs"

mkdir -p build
rm -rf "$output"
"$toolchain/docc" convert Sources/DynaMoE/DynaMoE.docc --additional-symbol-graph-dir "$graphs" --output-dir "$output" \
  --fallback-default-module-kind Module --warnings-as-errors ${base:+--hosting-base-path "$base"}
[ -f "$output/documentation/dynamoe/index.html" ] || fail "DocC wrote no page of the module DynaMoE."
# DocC says nothing of what has no comment.
python3 scripts/check-doc-comments.py "$graphs/DynaMoE.symbols.json"
echo "$output: for a look, python3 -m http.server --bind 127.0.0.1 --directory $output, then http://127.0.0.1:8000${base:+/$base}/documentation/dynamoe"
