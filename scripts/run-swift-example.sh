#!/usr/bin/env bash
# run-swift-example.sh [PACKAGE PRODUCT]: builds an executable of a package that depends on this one and runs it. It is built in the
# library's scratch folder with the library's flags, so that only the package's own sources are left to compile.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

package=${1:-examples/swift}
product=${2:-Quickstart}
swift build --package-path "$package" --product "$product" -c release -Xswiftc -static-stdlib \
  --scratch-path "$PWD/.build-library"
".build-library/release/$product"
