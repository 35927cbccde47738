#!/usr/bin/env bash
# Builds and runs examples/swift, a package that depends on this one, as its reader would, but in a scratch folder of this checkout.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scratch="$PWD/.build-example"
swift build --package-path examples/swift -c release --scratch-path "$scratch"
for program in Quickstart SingleLayer Serving; do
  printf '%s\n' "$program"
  "$scratch/release/$program"
done
