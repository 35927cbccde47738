#!/usr/bin/env bash
# swift.sh: a package that depends on this one by URL and version, as its readers' do: the committed state of this checkout, cloned and
# tagged with the version of the header.
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"

version=$(sed -n 's/^#define DYNAMOE_VERSION "\(.*\)"$/\1/p' Include/dynamoe.h)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git clone -q --no-tags "file://$PWD" "$work/dynamoe"
git -C "$work/dynamoe" tag "$version"
cp -r examples/swift "$work/consumer"
rm -rf "$work/consumer/.build"
sed -i "s|\.package(name: \"DynaMoE\", path: \"[^\"]*\")|.package(url: \"file://$work/dynamoe\", from: \"$version\")|; s|package: \"DynaMoE\"|package: \"dynamoe\"|" \
  "$work/consumer/Package.swift"
grep -q "from: \"$version\"" "$work/consumer/Package.swift" || fail "examples/swift/Package.swift is not as expected here."

cd "$work/consumer"
swift build -c release --cache-path "$work/cache"
.build/release/Quickstart
grep -q "\"version\" : \"$version\"" Package.resolved || fail "another version was resolved: $(cat Package.resolved)"
echo "1 passed: dynamoe $version by URL and version"
