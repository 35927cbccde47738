#!/usr/bin/env bash
# arm64.sh: compiles all Swift sources but the kernels v3 and v4, and a C and a C++ program with the header, for 64-bit ARM. Nothing is
# linked or run. The toolchain for x86-64 has no standard library for ARM: the interface of its own stands in, which has the same
# declarations but for Float80, whose two functions that need a processor with it are cut out here.
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"

target=aarch64-unknown-linux-gnu
resources=$(swiftc -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/resources" "$work/sdk/usr" "$work/modules"
ln -s /usr/aarch64-linux-gnu/include "$work/sdk/usr/include"
cp -rs "$resources/linux" "$resources/shims" "$resources/clang" "$resources/apinotes" "$work/resources"
cp -rs "$resources/linux/x86_64" "$work/resources/linux/aarch64"
for module in "$work"/resources/linux/*.swiftmodule; do
  interface=$module/x86_64-unknown-linux-gnu.swiftinterface
  [ -f "$interface" ] || continue
  sed -e "s/-target x86_64-unknown-linux-gnu/-target $target/" -e 's/self = _stdlib_\(remainder\|squareRoot\)l(.*)/fatalError()/' \
    "$interface" >"$module/$target.swiftinterface"
  rm "$module"/x86_64-*
done

if grep -rnw Float80 Sources; then fail "Float80 is not to be had on ARM."; fi
compile() { # compile MODULE [OPTION…]: one object of the whole module
  local module=$1 sources
  shift
  mapfile -t sources < <(find -L "Sources/$module" -name '*.swift' | sort)
  swiftc -target "$target" -sdk "$work/sdk" -resource-dir "$work/resources" -module-cache-path "$work/cache" \
    -swift-version 6 -O -wmo -parse-as-library -module-name "$module" -I Sources/CDynaMoEPlatform/include -I Include -I "$work/modules" \
    -emit-module -emit-module-path "$work/modules/$module.swiftmodule" -c -o "$work/$module.o" "$@" "${sources[@]}"
  grep -q AArch64 <<<"$(readelf -h "$work/$module.o")" || fail "$module.o is not for ARM."
}
compile DynaMoEKernelsBaseline -D LEVEL_BASELINE
compile DynaMoEKernels
compile DynaMoE
compile DynaMoEC
defined=$(aarch64-linux-gnu-nm --defined-only "$work/DynaMoEC.o")
for name in dynamoe_model_create dynamoe_model_train_batch; do
  grep -qw "$name" <<<"$defined" || fail "DynaMoEC.o does not define $name."
done

warnings=(-Wall -Wextra -pedantic -Werror -IInclude)
aarch64-linux-gnu-gcc -std=c11 "${warnings[@]}" -c -o "$work/header.o" Tests/C/header.c
aarch64-linux-gnu-g++ -x c++ -std=c++17 "${warnings[@]}" -c -o "$work/header++.o" Tests/C/header.c
echo "6 passed: four Swift modules and the header in C and C++ compile for $target"
