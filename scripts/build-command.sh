#!/usr/bin/env bash
# Builds the command `dynamoe`, which needs no Swift at run time, into .build-command/bin, and its shell completions beside it.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scratch=.build-command
# In a folder that is renamed, so that an interrupted build leaves the old one.
built=$scratch/bin.new
quietly build-command "Building the command dynamoe (minutes, the first time)" \
  swift build -c release --package-path CommandLine --scratch-path "$scratch" -Xswiftc -static-stdlib

rm -rf .build-command/bin.new
mkdir -p "$built"
strip -o "$built/dynamoe" "$scratch/release/dynamoe-cli"
for shell in bash zsh fish; do
  "$built/dynamoe" --generate-completion-script "$shell" >"$built/dynamoe.$shell"
done
rm -rf .build-command/bin
mv "$built" "$scratch/bin"
