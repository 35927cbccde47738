#!/usr/bin/env bash
# lint.sh [--fix]: the style of Swift (swift format, part of the toolchain), Python (ruff) and shell (shellcheck), the last two
# when they are installed. --fix corrects what can be corrected.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

fix=${1:-}
status=0

# Linked sources are checked where they really are.
mapfile -t swift_files < <(find Package.swift Sources CommandLine Tests examples benchmarks -name '*.swift' -type f -not -path '*/.build*')
if [ "$fix" = --fix ]; then
  swift format format --in-place --parallel "${swift_files[@]}"
else
  swift format lint --strict --parallel "${swift_files[@]}" || status=1
fi

python_folders=(bindings/python Tests/Python Tests/Packaging Tests/Browser Tests/Command examples/python docs/figures benchmarks scripts)
ruff=$(PATH="$PWD/.venv/bin:$PATH" command -v ruff) || ruff=
if [ -n "$ruff" ]; then
  if [ "$fix" = --fix ]; then
    "$ruff" format "${python_folders[@]}"
    "$ruff" check --fix "${python_folders[@]}" || status=1
  else
    "$ruff" check "${python_folders[@]}" || status=1
    "$ruff" format --check "${python_folders[@]}" || status=1
  fi
else
  echo 'ruff is not installed: Python was not checked.'
fi

if command -v shellcheck >/dev/null; then
  shellcheck -x -P scripts scripts/*.sh Tests/Packaging/*.sh .ci/run || status=1
else
  echo 'shellcheck is not installed: the scripts were not checked.'
fi
exit "$status"
