#!/usr/bin/env bash
# Builds libdynamoe.so with the Swift runtime inside, stripped, into .build-library/lib, and checks what it needs and exports.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scratch=.build-library
discard_when_header_changed "$scratch"

# On the command line, not in Package.swift, where the flag would break `swift test`.
quietly build-library "Building libdynamoe.so (minutes, the first time)" \
  swift build -c release --product dynamoe -Xswiftc -static-stdlib --scratch-path "$scratch"

mkdir -p "$library"
built="$library/libdynamoe.so.new"
strip --strip-unneeded -o "$built" "$scratch/release/libdynamoe.so"
scripts/check-library.sh "$built"
mv "$built" "$library/libdynamoe.so.0"
ln -sf libdynamoe.so.0 "$library/libdynamoe.so"
